"""What encoder and decoder get beside the image: nothing, or the image's label."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.models.networks import Networks
from vaelab.models.numbers import check_whole
from vaelab.models.requirements import Property

__all__ = ["LabelCondition", "Unconditional"]


class Unconditional(nn.Module):
    """Nothing: p(x|z) and q(z|x)."""

    provides: frozenset[Property] = frozenset({"encoder without labels"})
    needs: frozenset[Property] = frozenset()
    channels = 0  # how many the encoder's input gains
    features = 0  # how many numbers the decoder's input gains
    draws = False  # whether it takes something at random for each training image

    def networks(self, pair: Networks, image_shape: Sequence[int], latent_dim: int) -> Networks:
        """The networks that are used in place of ``pair``, whose inputs have these shapes."""
        return pair

    def given(self, y: Tensor | None, noise: Tensor, alike: bool = False) -> tuple[Any, Tensor]:
        """What :meth:`image` and :meth:`latent` get of the batch in place of y, and its beta (B,), or empty.

        ``noise`` (B,): standard normal, empty unless the condition ``draws``. ``alike``: the images must have
        the same beta.
        """
        return y, noise

    def check(self, y: Tensor | None) -> None:
        """Raise a ValueError if the labels y (...) do not fit. Without a condition any do, and none.

        A forward pass does not check: it has no branch on a tensor.
        """

    def image(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The encoder's input: (B, C, H, W) -> (B, C + channels, H, W)."""
        return x

    def latent(self, z: Tensor, y: Tensor | None) -> Tensor:
        """The decoder's input: (..., D) -> (..., D + features)."""
        return z

    def in_turn(self, n: int, device: torch.device | str = "cpu") -> Tensor | None:
        """The labels of n samples that are to show everything, (n,)."""
        return None


class LabelCondition(Unconditional):
    """The class label y in {0, ..., K-1}: p(x|z, y) and q(z|x, y).

    "Learning Structured Output Representation using Deep Conditional Generative Models" (Sohn et al., NeurIPS
    2015). One-hot, as K more channels of the encoder's image, constant over the pixels, and as K more numbers
    of the decoder's input. The prior stays p(z), as in the model M2 of "Semi-supervised Learning with Deep
    Generative Models" (Kingma et al., 2014, arXiv:1406.5298). The rate and the ELBO are of log p(x|y).

    Raises:
        ValueError: ``num_classes`` is None, for data without classes, or < 1; ``no_classes`` says why.
    """

    provides = frozenset()

    def __init__(self, num_classes: int | None = None, no_classes: str = "") -> None:
        super().__init__()
        if num_classes is None:
            raise ValueError(
                f"this model needs a class label for each image, and {no_classes or 'the data have none'}"
            )
        check_whole("num_classes", num_classes, least=1)
        self.channels = self.features = num_classes

    def check(self, y: Tensor | None) -> None:
        if y is None:
            raise ValueError("a conditional model needs the labels y")
        fits = (y >= 0) & (y < self.channels) & (y == y.round())
        if not fits.all():
            most = self.channels - 1
            raise ValueError(f"labels must be whole numbers from 0 to {most}, got {y[~fits][0].item():g}")

    def image(self, x: Tensor, y: Tensor | None) -> Tensor:
        planes = self._one_hot(y, x)[..., None, None].expand(-1, -1, *x.shape[-2:])
        return torch.cat([x, planes], dim=1)

    def latent(self, z: Tensor, y: Tensor | None) -> Tensor:
        """y has the leading shape of z, or one that broadcasts to it."""
        return torch.cat([z, self._one_hot(y, z).expand(*z.shape[:-1], -1)], dim=-1)

    def in_turn(self, n: int, device: torch.device | str = "cpu") -> Tensor | None:
        return torch.arange(n, device=device) % self.channels

    def _one_hot(self, y: Tensor | None, like: Tensor) -> Tensor:
        if y is None:
            raise ValueError("a conditional model needs the labels y")
        return (y[..., None] == torch.arange(self.channels, device=y.device)).to(like)

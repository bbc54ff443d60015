"""Does the decoder listen to z? It is given other z, and must do worse."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric

from vaelab.functional.randomness import generator


class DecoderTest(Metric):
    """By how many nats per image the distortion rises if z is another image's, or the prior's.

    - ``shuffle_gap``: mean of -log p(x_n|z_m) + log p(x_n|z_n), z_m the code of another image m.
    - ``prior_gap``: the same with z ~ p(z).

    A decoder that ignores z shows no gap, whatever the rate says. On the first ``images`` images of the
    split. m is drawn among the images that came before n, so that no image has to be kept and the batch size
    does not matter; the first has none and is left out. (Several processes each draw among their own images:
    the same expectation, another draw.)
    """

    full_state_update = False
    shuffled: Tensor
    prior: Tensor
    count: Tensor

    def __init__(self, images: int = 2000) -> None:
        super().__init__()
        self.images = images
        for state in ("shuffled", "prior", "count"):
            self.add_state(state, torch.tensor(0.0), dist_reduce_fx="sum")
        # where among the images before it each image finds its other one, as a share of them
        self._place = torch.rand(images, generator=generator(0, "decoder test"))
        self._codes: list[Tensor] = []  # z of the images so far

    def update(
        self,
        position: Tensor,
        z: Tensor,
        z_prior: Tensor,
        distortion: Tensor,
        distortion_of: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """position (B,), z (S, B, D), z_prior (B, D), distortion (S, B).

        ``distortion_of(z, rows)``: -log p(x|z) of the batch's images at ``rows`` (M,) with z (M, D) -> (M,).
        """
        rows = (position < self.images).nonzero()[:, 0]
        before = sum(map(len, self._codes))
        number = torch.arange(before, before + len(rows))  # images before each
        self._codes.append(z[0, rows])
        if not before:
            rows, number = rows[1:], number[1:]
        if not len(rows):
            return
        other = (self._place[number] * number).long()
        own = distortion[0, rows].float()
        shuffled = distortion_of(torch.cat(self._codes)[other.to(z.device)], rows)
        self.shuffled += (shuffled.float() - own).sum()
        self.prior += (distortion_of(z_prior[rows], rows).float() - own).sum()
        self.count += len(rows)

    def reset(self) -> None:
        super().reset()
        self._codes = []

    def compute(self) -> dict[str, Tensor]:
        return {"shuffle_gap": self.shuffled / self.count, "prior_gap": self.prior / self.count}

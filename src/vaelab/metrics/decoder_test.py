"""Does the decoder use z? With another image's z the distortion must rise."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric

from vaelab.functional.randomness import generator

__all__ = ["DecoderTest"]


class DecoderTest(Metric):
    """By how many nats per image the distortion rises if z is another image's, or the prior's.

    - ``shuffle_gap``: mean of -log p(x_n|z_m) + log p(x_n|z_n), z_m the code of another image m.
    - ``prior_gap``: the same with z ~ p(z).

    A decoder that ignores z has no gap, whatever the rate is. On the first ``images`` images of the split. m
    is drawn among the images before n: their codes are kept, no image is, and the batch size does not
    matter. The first image has none before it and is left out. (Each of several processes draws among its own
    images: the same expectation, another draw.)
    """

    full_state_update = False
    shuffled: Tensor
    prior: Tensor
    count: Tensor
    codes: list[Tensor]

    def __init__(self, images: int = 2000) -> None:
        super().__init__()
        self.images = images
        for state in ("shuffled", "prior", "count"):
            self.add_state(state, torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("codes", [], dist_reduce_fx="cat")  # (., D), z of the images so far
        # which of the images before it each image takes z from, as a share of their number
        self.choice = torch.rand(images, generator=generator(0, "decoder test"))

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
        first = sum(map(len, self.codes))
        before = torch.arange(first, first + len(rows))  # how many images come before each
        self.codes.append(z[0, rows])
        if not first:
            rows, before = rows[1:], before[1:]
        if not len(rows):
            return
        other = (self.choice[before] * before).long()
        matched = distortion[0, rows].float()
        shuffled = distortion_of(torch.cat(self.codes)[other.to(z.device)], rows)
        self.shuffled += (shuffled.float() - matched).sum()
        self.prior += (distortion_of(z_prior[rows], rows).float() - matched).sum()
        self.count += len(rows)

    def compute(self) -> dict[str, Tensor]:
        return {"shuffle_gap": self.shuffled / self.count, "prior_gap": self.prior / self.count}

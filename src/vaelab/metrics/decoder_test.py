"""Does the decoder use z? With another image's z the distortion must rise."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vaelab.functional.measures import pair_standard_error, standard_error
from vaelab.functional.randomness import generator

__all__ = ["DecoderTest"]

NAMES = ("shuffle_gap", "shuffle_gap_se", "prior_gap", "prior_gap_se")


class DecoderTest(Metric):
    """By how many nats per image the distortion rises if z is another image's, or the prior's.

    - ``shuffle_gap``: mean of -log p(x_n|z_m) + log p(x_n|z_n), z_m the code of another image m.
    - ``prior_gap``: the same with z ~ p(z).

    A decoder that ignores z has no gap, whatever the rate is. On the first ``images`` images of the split. m
    is drawn among the images before n, which are random others since the split is in random order: their
    codes are kept, no image is, and the batch size does not matter. The first image has none before it and is
    left out. (Each of several processes draws among its own images: the same expectation, another draw.)

    ``shuffle_gap_se``, ``prior_gap_se``: standard errors of these means over images. That of the shuffle gap
    knows that a code serves several images: :func:`~vaelab.functional.measures.pair_standard_error`.
    """

    full_state_update = False
    shuffled: list[Tensor]
    prior: list[Tensor]
    pairs: list[Tensor]
    codes: list[Tensor]
    positions: list[Tensor]

    def __init__(self, images: int = 2000) -> None:
        super().__init__()
        self.images = images
        # (., ) gaps, (., 2) positions of n and m, (., D) z and (., ) positions of the images so far
        for state in ("shuffled", "prior", "pairs", "codes", "positions"):
            self.add_state(state, [], dist_reduce_fx="cat")
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
        self.positions.append(position[rows])
        if not first:
            rows, before = rows[1:], before[1:]
        if not len(rows):
            return
        other = (self.choice[before] * before).long().to(z.device)
        matched = distortion[0, rows].float()
        shuffled = distortion_of(torch.cat(self.codes)[other], rows)
        self.shuffled.append(shuffled.float() - matched)
        self.prior.append(distortion_of(z_prior[rows], rows).float() - matched)
        self.pairs.append(torch.stack([position[rows], torch.cat(self.positions)[other]], dim=1))

    def compute(self) -> dict[str, Tensor]:
        if not len(self.pairs):
            return {name: torch.tensor(torch.nan) for name in NAMES}
        shuffled, prior, pairs = (
            dim_zero_cat(part).cpu() for part in (self.shuffled, self.prior, self.pairs)
        )
        values = (
            *(shuffled.mean(), pair_standard_error(shuffled, pairs)),
            *(prior.mean(), standard_error(prior)),
        )
        return dict(zip(NAMES, values, strict=True))

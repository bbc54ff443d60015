"""Codes without a codebook: each number of a point is rounded to one of a few levels."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from vaelab.models.codebooks import CodebookParameters, chosen_codes, code_layout, straight_through
from vaelab.models.posteriors import Posterior

__all__ = ["FiniteScalar"]

MOST = 2**20  # codes: priors and metrics have a number for each
EPSILON = 1e-3  # the share by which h is smaller, as in the paper
FINEST = 1000  # levels of a number: with more, f would not reach the last


class FiniteScalar(Posterior):
    """Finite scalar quantization: each number of a point is bounded and rounded to one of its levels.

    "Finite Scalar Quantization: VQ-VAE Made Simple" (Mentzer et al., 2023, arXiv:2309.15505). A point of z
    has as many numbers as there are ``levels``. With L levels the encoder's number y becomes

        z = round(f(y)) / (L // 2),  f(y) = tanh(y + tan(o / h)) h - o,

    h = (1 - 0.001) (L - 1) / 2 and o = 1/2 for even L, else 0: one of the L whole numbers from -(L // 2) on,
    divided so that z is from -1 to 1 (appendix A.1 there). The gradient passes straight through the rounding,
    and by f' on to the encoder. The K = prod L codes exist from the start: none has to be learned, and no
    term of the objective is needed beside the distortion.

    Code k has the digits d_i = (k // (L_1 ... L_(i-1))) mod L_i, from 0 to L_i - 1, and the numbers
    (d_i - L_i // 2) / (L_i // 2).

    Raises:
        ValueError: no levels, one below 2 or above FINEST, more than MOST codes, or a number of levels that
            does not divide the channels.
    """

    provides = frozenset({"codes"})
    levels: Tensor
    halves: Tensor
    steps: Tensor

    def __init__(
        self, latent_dim: int, levels: Sequence[int] = (8, 5, 5, 5), latent_shape: Sequence[int] = ()
    ) -> None:
        super().__init__(latent_dim, latent_shape)
        listed = isinstance(levels, list | tuple) and len(levels) > 0
        # a run offers its data's levels, a number or None, to a part that is not given its own
        if not listed or not all(type(level) is int and 2 <= level <= FINEST for level in levels):
            got = list(levels) if listed else levels
            raise ValueError(
                f"levels must be a list of whole numbers from 2 to {FINEST}, as [8,5,5,5], got {got}"
            )
        self.layout = code_layout(latent_dim, latent_shape, len(levels), "the number of levels")
        self.code_shape = self.layout.groups, self.layout.height, self.layout.width
        self.places, self.number_of_codes = prod(self.code_shape), prod(levels)
        if self.number_of_codes > MOST:
            raise ValueError(f"levels={list(levels)} are {self.number_of_codes:,} codes: at most {MOST:,}")
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("halves", (self.levels // 2).float(), persistent=False)
        # L_1 ... L_(i-1): by how much a code grows with each digit
        smaller = torch.tensor([prod(levels[:i]) for i in range(len(levels))])
        self.register_buffer("steps", smaller, persistent=False)

    def forward(self, encoded: Tensor) -> CodebookParameters:
        bounded = self.bounded(self.layout.points(encoded))
        rounded = bounded.round()
        z, loc = (self.layout.latent(points / self.halves) for points in (bounded, rounded))
        return chosen_codes(loc, z, self.numbered(rounded), stages=loc[:, None])

    def bounded(self, points: Tensor) -> Tensor:
        """f: (..., d) -> (..., d), from -L/2 to (L - 1)/2, both excluded, whose rounding has L values."""
        half = (self.levels - 1).to(points) * (1 - EPSILON) / 2
        offset = (1 - self.levels % 2).to(points) / 2
        return (points + (offset / half).tan()).tanh() * half - offset

    def numbered(self, rounded: Tensor) -> Tensor:
        """Whole numbers (..., d) from -(L // 2) on -> the codes (...)."""
        digits = rounded.nan_to_num(0).long() + self.levels // 2  # a NaN is found by the loss
        return (digits.clamp(min=0).minimum(self.levels - 1) * self.steps).sum(-1)

    def nearest(self, z: Tensor) -> Tensor:
        """The codes nearest to z, which is not bounded any more: (..., D) -> (..., n)."""
        return self.numbered((self.layout.points(z) * self.halves).round())

    def vectors(self, codes: Tensor) -> Tensor:
        """z of these codes: (..., n) -> (..., D)."""
        digits = codes[..., None] // self.steps % self.levels
        return self.layout.latent((digits - self.levels // 2) / self.halves)

    def numbers(self, noise: Tensor) -> Tensor:
        """The first number of each point: (..., D) -> (..., n)."""
        return self.layout.points(noise)[..., 0]

    def sample(self, q: CodebookParameters, noise: Tensor) -> Tensor:
        return straight_through(q, noise)

    def log_prob(self, q: CodebookParameters, z: Tensor) -> Tensor:
        return torch.zeros_like(z[..., 0])

"""Posteriors that choose codes: what they share, and the codebook of the VQ-VAE.

The latent z (B, D) is a map (C, h, w), row by row; a vector is a map with one place, C = D. Its channels are
split into groups of ``code_dim``: a point for each group at each place, which is replaced by a code. Beside
what every posterior has, such a posterior has

- ``codes`` (B, n) in its parameters, from 0 to K - 1;
- ``places`` n, ``number_of_codes`` K and ``code_shape`` (G, h, w) with n = G h w: codes are in this order;
- ``codebooks`` T: the n codes are T equal parts, each from K codes of its own;
- ``nearest(z)``: (..., D) -> the codes (..., n) that it chooses for z;
- ``vectors(codes)``: (..., n) -> z (..., D), made of these codes;
- ``numbers(noise)``: (..., D) -> (..., n), one of the numbers for each code, so that noise chooses codes.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vaelab.models.numbers import check_whole, register_number, scalar
from vaelab.models.posteriors import Posterior
from vaelab.types import AfterStep

__all__ = ["Codebook", "CodebookParameters"]


class CodebookParameters(NamedTuple):
    """The choice of codes for a batch."""

    loc: Tensor  # (B, D)  the chosen codes: their gradient goes to the codebook
    scale: Tensor  # (B, D)  0
    log_var: Tensor  # (B, D)  -inf
    encoded: Tensor  # (B, D)  the encoder's point, before it is replaced by codes
    codes: Tensor  # (B, n)  which ones
    stages: Tensor  # (B, Q, D)  z after each of Q quantizers; the last is loc. Q = 1 but for residual ones


# what the posteriors share


class CodeLayout(NamedTuple):
    """Which of the D numbers of z belong to a point."""

    groups: int
    code_dim: int
    height: int
    width: int

    @property
    def points_per_image(self) -> int:
        return self.groups * self.height * self.width

    def points(self, z: Tensor) -> Tensor:
        """z (..., D) -> points (..., g h w, code_dim), in the order (group, row, column)."""
        places = self.height * self.width
        return z.unflatten(-1, (self.groups, self.code_dim, places)).transpose(-1, -2).flatten(-3, -2)

    def latent(self, points: Tensor) -> Tensor:
        """The inverse of :meth:`points`."""
        places = self.height * self.width
        return points.unflatten(-2, (self.groups, places)).transpose(-1, -2).flatten(-3)


def code_layout(
    latent_dim: int, latent_shape: Sequence[int], code_dim: int | None, name: str = "code_dim"
) -> CodeLayout:
    """The layout of a latent of this shape, (C, h, w) or a vector; ``code_dim`` None: one code at each place.

    Raises:
        ValueError: ``code_dim``, which is called ``name``, is no whole number >= 1 that divides the channels.
    """
    channels, height, width = latent_shape if len(latent_shape) == 3 else (latent_dim, 1, 1)
    code_dim = channels if code_dim is None else code_dim
    check_whole(name, code_dim, least=1)
    if channels % code_dim:
        of = f"latent_dim={latent_dim}" if channels == latent_dim else f"the map's {channels} channels"
        raise ValueError(f"{name} must divide {of}, got {code_dim}")
    return CodeLayout(channels // code_dim, code_dim, height, width)


def chosen_codes(loc: Tensor, encoded: Tensor, codes: Tensor, stages: Tensor) -> CodebookParameters:
    """The parameters of a choice that is certain."""
    return CodebookParameters(
        loc, torch.zeros_like(loc), torch.full_like(loc, -torch.inf), encoded, codes, stages
    )


def straight_through(q: CodebookParameters, noise: Tensor) -> Tensor:
    """The codes as z (S, B, D); the gradient goes to the encoder as if nothing had been replaced."""
    return (q.encoded + (q.loc - q.encoded).detach()).expand_as(noise)


def nearest_codes(points: Tensor, codebook: Tensor) -> Tensor:
    """Which code is the nearest: points (..., d), codebook (K, d) -> (...)."""
    # |p - e|^2 = |p|^2 - 2 p.e + |e|^2; the first is the same for every code
    distance = codebook.square().sum(-1) - 2 * points @ codebook.T
    return distance.argmin(-1)


def hold_codes(posterior: Any, start: Tensor, decay: float | None, revive_below: float | None) -> None:
    """Give the posterior the codes ``start`` (..., K, d): as a parameter, or as moving averages.

    Raises:
        ValueError: a ``decay`` or a ``revive_below`` outside [0, 1), or the latter without the former.
    """
    share = None if revive_below is None else scalar("revive_below", revive_below, least=0, below=1)
    posterior.register_buffer("revive_below", share, persistent=False)
    if decay is None:
        if revive_below is not None:
            raise ValueError(f"revive_below={revive_below:g} needs moving averages: set decay, such as 0.99")
        posterior.provides = frozenset({"codes", "trainable codes"})
        posterior.needs = frozenset({"codebook loss"})
        posterior.codebook = nn.Parameter(start)
        return
    posterior.provides = frozenset({"codes"})
    register_number(posterior, "decay", decay, least=0, below=1)
    posterior.register_buffer("codebook", start)
    posterior.register_buffer("counts", torch.ones(start.shape[:-1]))  # N_i
    posterior.register_buffer("sums", start.clone())  # m_i: each code starts as the mean of one point


class Codebook(Posterior):
    """z is made of the codes nearest to what the encoder gives: the VQ-VAE.

    "Neural Discrete Representation Learning" (van den Oord et al., 2017, arXiv:1711.00937). The encoder's D
    numbers are n = D / ``code_dim`` points; each becomes the nearest of ``codes`` learned vectors. The
    paper's latents are a map with a code at each place: ``network=conv_map`` and ``code_dim`` = its channels.
    The gradient of z passes straight through to the encoder, which keeps near the codes by
    :class:`~vaelab.models.objectives.Commitment`. The codes follow in one of two ways:

    - ``decay=None``: they are parameters, moved by :class:`~vaelab.models.objectives.CodebookLoss`.
    - ``decay=gamma`` (the paper's appendix A.1; there 0.99): they are moving averages of the points that
      chose them, :func:`moved_averages`, taken after each optimizer step, outside of the forward pass. Codes
      that are hardly chosen restart at points of the step if ``revive_below`` says so: :func:`revived`.

    log q is the logarithm of a probability: 0, the choice being certain. No dimension has a KL of its own.

    Args:
        code_dim: numbers in a code; None for all channels of a place.
        revive_below: a share of the mean count of a code, from 0 to below 1; None for no restarts.
        latent_shape: (C, h, w) of a map.

    Raises:
        ValueError: fewer than two codes, a ``code_dim`` that does not divide the channels, or numbers that
            :func:`hold_codes` refuses.
    """

    codebook: Tensor
    decay: Tensor
    revive_below: Tensor | None
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        latent_dim: int,
        codes: int,
        code_dim: int | None,
        decay: float | None = None,
        revive_below: float | None = None,
        latent_shape: Sequence[int] = (),
    ) -> None:
        super().__init__(latent_dim, latent_shape)
        check_whole("codes", codes, least=2)
        self.layout = code_layout(latent_dim, latent_shape, code_dim)
        self.code_shape = self.layout.groups, self.layout.height, self.layout.width
        self.places, self.number_of_codes = prod(self.code_shape), codes
        hold_codes(self, torch.randn(codes, self.layout.code_dim), decay, revive_below)

    def forward(self, encoded: Tensor) -> CodebookParameters:
        codes = self.nearest(encoded)
        loc = self.vectors(codes)
        return chosen_codes(loc, encoded, codes, stages=loc[:, None])

    def nearest(self, z: Tensor) -> Tensor:
        """Which code is the nearest at each place: (..., D) -> (..., n)."""
        return nearest_codes(self.layout.points(z), self.codebook)

    def vectors(self, codes: Tensor) -> Tensor:
        """z of these codes: (..., n) -> (..., D)."""
        return self.layout.latent(self.codebook[codes])

    def numbers(self, noise: Tensor) -> Tensor:
        """The first number of each point: (..., D) -> (..., n)."""
        return self.layout.points(noise)[..., 0]

    def after_step(self, batches: Sequence[CodebookParameters], step: AfterStep) -> None:
        """Move the averages by the points that chose each code in one optimizer step."""
        if "trainable codes" in self.provides:
            return
        codes = torch.cat([q.codes.flatten() for q in batches])
        points = self.layout.points(torch.cat([q.encoded for q in batches])).flatten(0, -2)
        state = self.counts, self.sums, self.codebook
        new = followed(state, codes, points, self.decay, self.revive_below, step, "revived codes")
        for buffer, value in zip(state, new, strict=True):
            buffer.copy_(value)

    def sample(self, q: CodebookParameters, noise: Tensor) -> Tensor:
        return straight_through(q, noise)

    def log_prob(self, q: CodebookParameters, z: Tensor) -> Tensor:
        return torch.zeros_like(z[..., 0])


# codes as moving averages

State = tuple[Tensor, Tensor, Tensor]  # counts N (K,), sums m (K, d) and the codebook e (K, d)


def followed(
    state: State,
    codes: Tensor,
    points: Tensor,
    decay: Tensor,
    revive_below: Tensor | None,
    step: AfterStep,
    stream: str,
) -> State:
    """The moving averages after a step in which the points (N, d) of this device chose ``codes`` (N,).

    Args:
        stream: names the random draw of the points where codes restart.
    """
    one_hot = nn.functional.one_hot(codes, len(state[0])).to(points)
    new = moved_averages(*state, step.total(one_hot.sum(0)), step.total(one_hot.T @ points), decay)
    if revive_below is None:
        return new
    order = torch.randperm(len(points), generator=step.generator(stream))
    restart = points[order[torch.arange(len(state[0])) % len(points)].to(points.device)]
    # those of the first device, on all of them
    return revived(*new, step.total(restart if step.first else torch.zeros_like(restart)), revive_below)


def moved_averages(
    counts: Tensor, sums: Tensor, codebook: Tensor, chosen: Tensor, points: Tensor, decay: float | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The moving averages of a codebook one step on (van den Oord et al., 2017, appendix A.1).

    N_i <- gamma N_i + (1 - gamma) n_i, m_i <- gamma m_i + (1 - gamma) (sum of the n_i points that chose e_i),
    e_i <- m_i / N_i. A code that no point chose stays where it is, exactly: its N_i and m_i fade by the same
    factor. (Their quotient would be lost once both underflow, so it is not taken; no smoothing is needed.)

    Shapes: counts N and chosen n (K,); sums m, codebook e and points (K, d).
    """
    counts = decay * counts + (1 - decay) * chosen
    sums = decay * sums + (1 - decay) * points
    used = (chosen > 0)[:, None]
    return counts, sums, torch.where(used, sums / counts.where(chosen > 0, 1.0)[:, None], codebook)


def revived(
    counts: Tensor, sums: Tensor, codebook: Tensor, restart: Tensor, below: float | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The moving averages of a codebook with those codes restarted that are hardly used.

    Where N_i < below * mean_j N_j: e_i <- restart_i, N_i <- mean_j N_j, m_i <- N_i e_i. So a code that
    restarts is taken for one of average use, and has log(below) / log(gamma) steps to be chosen. "Jukebox: A
    Generative Model for Music" (Dhariwal et al., 2020, arXiv:2005.00341), section 3.1, restarts codes at
    random outputs of the encoder too, by a threshold of their number.

    Shapes: counts (K,); sums, codebook and restart (K, d).
    """
    typical = counts.mean()
    unused = counts < below * typical
    counts = torch.where(unused, typical, counts)
    sums = torch.where(unused[:, None], typical * restart, sums)
    return counts, sums, torch.where(unused[:, None], restart, codebook)

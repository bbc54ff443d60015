"""Posteriors that choose codes: from the encoder's output to the nearest codes of a codebook."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vaelab.models.numbers import check_whole, register_number
from vaelab.models.posteriors import Posterior
from vaelab.types import Total

__all__ = ["Codebook", "CodebookParameters"]


class CodebookParameters(NamedTuple):
    """The choice of codes for a batch."""

    loc: Tensor  # (B, D)  the chosen codes: their gradient goes to the codebook
    scale: Tensor  # (B, D)  0
    log_var: Tensor  # (B, D)  -inf
    encoded: Tensor  # (B, D)  the encoder's point, before it is replaced by codes
    codes: Tensor  # (B, n)  which ones


class Codebook(Posterior):
    """z is made of the codes nearest to what the encoder gives: the VQ-VAE.

    "Neural Discrete Representation Learning" (van den Oord et al., 2017, arXiv:1711.00937). The encoder's D
    numbers are n = D / ``code_dim`` points; each becomes the nearest of ``codes`` learned vectors. (The
    paper's latents are a map of codes; here they are a vector, as for every other posterior, so that every
    network fits.) The gradient of z passes straight through to the encoder, which keeps near the codes by
    :class:`~vaelab.models.objectives.Commitment`. The codes follow in one of two ways:

    - ``decay=None``: they are parameters, moved by :class:`~vaelab.models.objectives.CodebookLoss`.
    - ``decay=gamma`` (the paper's appendix A.1; there 0.99): they are moving averages of the points that
      chose them, :func:`moved_averages`, taken after each optimizer step, outside of the forward pass.

    log q is the logarithm of a probability: 0, the choice being certain. No dimension has a KL of its own.

    Raises:
        ValueError: fewer than two codes, a ``code_dim`` that does not divide ``latent_dim``, or a ``decay``
            outside [0, 1).
    """

    codebook: Tensor
    decay: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, latent_dim: int, codes: int, code_dim: int, decay: float | None = None) -> None:
        super().__init__(latent_dim)
        check_whole("codes", codes, least=2)
        check_whole("code_dim", code_dim, least=1)
        if latent_dim % code_dim:
            raise ValueError(f"code_dim must divide latent_dim={latent_dim}, got {code_dim}")
        self.places = latent_dim // code_dim
        start = torch.randn(codes, code_dim)
        if decay is None:
            self.provides, self.needs = frozenset({"codes", "trainable codes"}), frozenset({"codebook loss"})
            self.codebook = nn.Parameter(start)
        else:
            self.provides = frozenset({"codes"})
            register_number(self, "decay", decay, least=0, below=1)
            self.register_buffer("codebook", start)
            self.register_buffer("counts", torch.ones(codes))  # N_i
            self.register_buffer("sums", start.clone())  # m_i: each code starts as the mean of one point

    def forward(self, encoded: Tensor) -> CodebookParameters:
        chosen = self.nearest(encoded)
        loc = self.codebook[chosen].flatten(-2)
        return CodebookParameters(
            loc, torch.zeros_like(loc), torch.full_like(loc, -torch.inf), encoded, chosen
        )

    def nearest(self, z: Tensor) -> Tensor:
        """Which code is the nearest at each place: (..., D) -> (..., n)."""
        points = z.unflatten(-1, (self.places, -1))  # (..., n, d)
        # |p - e|^2 = |p|^2 - 2 p.e + |e|^2; the first is the same for every code
        distance = self.codebook.square().sum(-1) - 2 * points @ self.codebook.T
        return distance.argmin(-1)

    def after_step(self, batches: Sequence[CodebookParameters], total: Total) -> None:
        """Move the averages by the points that chose each code in one optimizer step."""
        if "trainable codes" in self.provides:
            return
        codes = torch.cat([q.codes.flatten() for q in batches])
        points = torch.cat([q.encoded for q in batches]).reshape(-1, self.codebook.shape[-1])
        one_hot = nn.functional.one_hot(codes, len(self.codebook)).to(points)
        state = self.counts, self.sums, self.codebook
        new = moved_averages(*state, total(one_hot.sum(0)), total(one_hot.T @ points), self.decay)
        for buffer, value in zip(state, new, strict=True):
            buffer.copy_(value)

    def sample(self, q: CodebookParameters, noise: Tensor) -> Tensor:
        # the codes; the gradient goes to the encoder as if nothing had been replaced
        return (q.encoded + (q.loc - q.encoded).detach()).expand_as(noise)

    def log_prob(self, q: CodebookParameters, z: Tensor) -> Tensor:
        return torch.zeros_like(z[..., 0])


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

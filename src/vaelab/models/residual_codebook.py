"""Codes in layers: each codes what those before it leave."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from vaelab.models.codebooks import (
    CodebookParameters,
    chosen_codes,
    code_layout,
    followed,
    hold_codes,
    nearest_codes,
    straight_through,
)
from vaelab.models.numbers import check_whole
from vaelab.models.posteriors import Posterior
from vaelab.types import AfterStep

__all__ = ["ResidualCodebook"]


class ResidualCodebook(Posterior):
    """Each point of z is a sum of Q codes, the nearest to what the codes before it leave: the RQ-VAE.

    "Autoregressive Image Generation using Residual Quantization" (Lee et al., 2022, arXiv:2203.01941). With r
    = the encoder's point, for q = 1, ..., Q: code q is the nearest to r in its codebook, and r <- r - code q.
    The codes of an image are in the order (quantizer, group, row, column), so that ``code_shape`` is (Q G, h,
    w). The gradient of z passes straight through to the encoder; codes follow as those of a
    :class:`~vaelab.models.Codebook`, each by what was left when it was chosen.

    With K codes the rate under uniform codes is Q log K at each place. It is the length of the codes: several
    choices may have the same sum, so that z itself may cost less.

    Args:
        codes: K, of each codebook.
        code_dim: numbers in a code, at least Q; None for all channels of a place.
        quantizers: Q.
        shared: one codebook for all quantizers, as in the paper, or one for each.
        decay, revive_below, latent_shape: as for a Codebook.

    Raises:
        ValueError: fewer than two codes or one quantizer, more quantizers than numbers in a code, and what a
            Codebook refuses.
    """

    codebook: Tensor  # (1, K, d) if shared, else (Q, K, d)
    decay: Tensor
    revive_below: Tensor | None
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        latent_dim: int,
        codes: int,
        code_dim: int | None,
        quantizers: int = 4,
        shared: bool = True,
        decay: float | None = None,
        revive_below: float | None = None,
        latent_shape: Sequence[int] = (),
    ) -> None:
        super().__init__(latent_dim, latent_shape)
        check_whole("codes", codes, least=2)
        check_whole("quantizers", quantizers, least=1)
        self.layout = code_layout(latent_dim, latent_shape, code_dim)
        if quantizers > self.layout.code_dim:  # a sample takes a number of the noise for each code
            raise ValueError(f"quantizers must be at most code_dim={self.layout.code_dim}, got {quantizers}")
        self.quantizers = quantizers
        self.code_shape = quantizers * self.layout.groups, self.layout.height, self.layout.width
        self.places, self.number_of_codes = prod(self.code_shape), codes
        self.codebooks = 1 if shared else quantizers
        start = torch.randn(self.codebooks, codes, self.layout.code_dim)
        hold_codes(self, start, decay, revive_below)

    def forward(self, encoded: Tensor) -> CodebookParameters:
        codes, sums = self.quantized(self.layout.points(encoded))
        stages = self.layout.latent(sums)
        return chosen_codes(stages[:, -1], encoded, codes.flatten(-2), stages)

    def quantized(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Points (..., P, d) -> the codes (..., Q, P), and the sums of the first 1, ..., Q (..., Q, P, d).

        The gradient of each sum goes to its last code alone.
        """
        before, codes, sums = torch.zeros_like(points), [], []
        for table in self.tables():
            codes.append(nearest_codes(points - before, table))
            sums.append(before + table[codes[-1]])
            before = sums[-1].detach()
        return torch.stack(codes, -2), torch.stack(sums, -3)

    def tables(self) -> Tensor:
        """The codebook of each quantizer, (Q, K, d)."""
        return self.codebook.expand(self.quantizers, -1, -1)

    def nearest(self, z: Tensor) -> Tensor:
        """The codes that it chooses for z, (..., D) -> (..., n): not always those of which z is the sum."""
        return self.quantized(self.layout.points(z))[0].flatten(-2)

    def vectors(self, codes: Tensor) -> Tensor:
        """z of these codes: (..., n) -> (..., D)."""
        layers = codes.unflatten(-1, (self.quantizers, -1)).unbind(-2)
        return self.layout.latent(
            sum(table[layer] for table, layer in zip(self.tables(), layers, strict=True))
        )

    def numbers(self, noise: Tensor) -> Tensor:
        """The first Q numbers of each point: (..., D) -> (..., n)."""
        return self.layout.points(noise)[..., : self.quantizers].transpose(-1, -2).flatten(-2)

    def after_step(self, batches: Sequence[CodebookParameters], step: AfterStep) -> None:
        """Move the averages by what was left when each code was chosen, in one optimizer step."""
        if "trainable codes" in self.provides:
            return
        points = self.layout.points(torch.cat([q.encoded for q in batches]))
        sums = self.layout.points(torch.cat([q.stages for q in batches]))  # (B, Q, P, d)
        left = points[:, None] - torch.cat([torch.zeros_like(sums[:, :1]), sums[:, :-1]], dim=1)
        codes = torch.cat([q.codes for q in batches]).unflatten(-1, (self.quantizers, -1))
        # a shared codebook coded all of it, another what its quantizer got
        tables = len(self.codebook)
        codes = codes.transpose(0, 1).reshape(tables, -1)
        left = left.transpose(0, 1).reshape(tables, -1, left.shape[-1])
        for t in range(tables):
            state = self.counts[t], self.sums[t], self.codebook[t]
            stream = f"revived codes {t}"
            new = followed(state, codes[t], left[t], self.decay, self.revive_below, step, stream)
            for buffer, value in zip(state, new, strict=True):
                buffer.copy_(value)

    def sample(self, q: CodebookParameters, noise: Tensor) -> Tensor:
        return straight_through(q, noise)

    def log_prob(self, q: CodebookParameters, z: Tensor) -> Tensor:
        return torch.zeros_like(z[..., 0])

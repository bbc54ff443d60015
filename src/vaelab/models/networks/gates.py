"""Networks that know beta: a gate for each unit, a function of log beta, around the layers of any pair.

"Multi-Rate VAE: Train Once, Get the Full Rate-Distortion Curve" (Bae et al., ICLR 2023, arXiv:2212.03905).
With t = w log beta + b of each unit, a hidden unit of the encoder is multiplied by sigmoid(t), and one of the
decoder by sqrt(relu(1 - exp(t))), which is 0 where t >= 0. Both are the paper's.

The latent dimensions have gates here too, after the encoder and before the decoder, which make a linear VAE
exact. With s = beta sigma^2, its optimum for data of variance l along a principal direction has

    decoder column    sqrt(l - s)      = sqrt(l)     * sqrt(1 - exp(t)),
    posterior mean    sqrt(l - s) / l  = l^(-1/2)    * sqrt(1 - exp(t)),
    log variance      log(s / l)       = t,

where t = log beta + log(sigma^2 / l): w is 1, and b is the same in all three. So a latent dimension has one
number b, log beta = -b is where it is switched off, and from there on its mean and log variance are 0.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.models.networks.parts import ACTIVATIONS, Networks

__all__ = ["CodeGate", "Gated", "HiddenGate", "LatentGate", "Switches", "gated", "opening"]

STRAIGHT = 1e-4  # below it the square root is replaced by a line, since its slope at 0 is infinite
OPEN = 3.0  # |b| at first: a hidden unit is multiplied by 0.95 in the encoder, by 0.97 in the decoder
FIRST = -1.0  # b of the latent dimensions at first: all are on up to beta = e


def opening(t: Tensor) -> Tensor:
    """sqrt(relu(1 - exp(t))), with a slope of at most 1 / (2 sqrt(STRAIGHT)) in exp(t).

    >>> opening(torch.tensor([-100.0, -0.6931, 1.0])).abs()
    tensor([1.0000, 0.7071, 0.0000])
    """
    room = -torch.expm1(t.clamp(max=0.0))
    return torch.where(room > STRAIGHT, room.clamp(min=STRAIGHT).sqrt(), room / STRAIGHT**0.5)


class Affine(nn.Module):
    """(B, C, ...) -> the same shape, factor * x + shift: a gate at one beta.

    ``factor`` and ``shift`` (C, 1, ...) are computed from a gate's weights, and not part of a checkpoint.
    """

    factor: Tensor
    shift: Tensor | None

    def __init__(self, factor: Tensor, shift: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("factor", factor, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        scaled = x * self.factor
        return scaled if self.shift is None else scaled + self.shift


class Gate(nn.Module):
    """x and log beta (B,) -> x, scaled and shifted by unit."""

    def affine(self, log_beta: Tensor) -> tuple[Tensor, Tensor | None]:
        """(...) -> the factor and the shift of each unit, (..., C, 1, ...)."""
        raise NotImplementedError

    def forward(self, x: Tensor, log_beta: Tensor) -> Tensor:
        factor, shift = self.affine(log_beta)
        return x * factor if shift is None else x * factor + shift

    @torch.no_grad()
    def fixed_at(self, log_beta: Tensor) -> nn.Module:
        """The module that does the same at one beta, (), in the precision of the gate's weights."""
        dtype = next(self.parameters()).dtype
        factor, shift = self.affine(log_beta)
        return Affine(factor.to(dtype), None if shift is None else shift.to(dtype))


class HiddenGate(Gate):
    """x (B, C, ...) with each unit multiplied by a function of w log beta + b.

    Args:
        units: C.
        axes: how many further axes x has, over which a unit's factor is the same.
        decoder: sqrt(relu(1 - exp(t))) in place of sigmoid(t).
    """

    def __init__(self, units: int, axes: int, decoder: bool) -> None:
        super().__init__()
        self.axes, self.decoder = axes, decoder
        self.slope = nn.Parameter(torch.zeros(units))
        self.offset = nn.Parameter(torch.full((units,), -OPEN if decoder else OPEN))
        self.optimizer_options: dict[str, Any] = {}

    def affine(self, log_beta: Tensor) -> tuple[Tensor, Tensor | None]:
        t = log_beta[..., None] * self.slope + self.offset
        factor = opening(t) if self.decoder else t.sigmoid()
        return factor.reshape(*factor.shape, *[1] * self.axes), None


class Switches(nn.Module):
    """t = log beta + b of each latent dimension: (...) -> (..., D); it is switched off where t >= 0."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.full((latent_dim,), FIRST))
        self.optimizer_options: dict[str, Any] = {}

    def forward(self, log_beta: Tensor) -> Tensor:
        return log_beta[..., None] + self.offset


class LatentGate(Gate):
    """The encoder's mu and log sigma^2, (B, 2 D) -> g mu and g log sigma^2 + min(t, 0), g = opening(t)."""

    def __init__(self, switches: Switches) -> None:
        super().__init__()
        self.switches = switches

    def affine(self, log_beta: Tensor) -> tuple[Tensor, Tensor | None]:
        t = self.switches(log_beta)
        g, off = opening(t), t.clamp(max=0.0)
        return torch.cat([g, g], dim=-1), torch.cat([torch.zeros_like(off), off], dim=-1)


class CodeGate(Gate):
    """The decoder's z (B, D + K), with K further numbers such as labels -> g z and those numbers."""

    def __init__(self, switches: Switches, others: int) -> None:
        super().__init__()
        self.switches, self.others = switches, others

    def affine(self, log_beta: Tensor) -> tuple[Tensor, Tensor | None]:
        g = opening(self.switches(log_beta))
        return torch.cat([g, g.new_ones(*g.shape[:-1], self.others)], dim=-1), None


class Gated(nn.Module):
    """The layers of a network with gates between them, which know log beta.

    Args:
        layers: the network, in parts.
        gates: of each part the gate that follows it, or None.
        first: the gate before the first part, or None.
    """

    def __init__(
        self, layers: Sequence[nn.Module], gates: Sequence[Gate | None], first: Gate | None = None
    ) -> None:
        super().__init__()
        order = [first, *(part for pair in zip(layers, gates, strict=True) for part in pair)]
        self.parts = nn.ModuleList(part for part in order if part is not None)

    def forward(self, x: Tensor) -> Tensor:
        """x with log beta as its last channel or number: (B, C + 1, ...) -> the network's output."""
        log_beta = x[:, -1].flatten(1)[:, 0] if x.ndim > 2 else x[:, -1]
        x = x[:, :-1]
        for part in self.parts:
            x = part(x, log_beta) if isinstance(part, Gate) else part(x)
        return x

    def fixed_at(self, log_beta: Tensor) -> nn.Module:
        """The network at one beta, without log beta in its input. It shares the layers' weights."""
        return nn.Sequential(
            *(part.fixed_at(log_beta) if isinstance(part, Gate) else part for part in self.parts)
        )


def gated(
    pair: Networks, image_shape: Sequence[int], latent_dim: int, others: int, options: dict[str, Any]
) -> Networks:
    """The pair with a gate after each activation, after the encoder and before the decoder.

    The decoder's output has no gate. A network that is no ``nn.Sequential`` is a single part, and has the
    gates of the latent dimensions alone.

    Args:
        image_shape: of the encoder's input.
        others: further numbers in the decoder's input beside z.
        options: ``optimizer_options`` of the gates (:mod:`vaelab.training.learning_rates`).
    """
    encoder, decoder = (list(net) if isinstance(net, nn.Sequential) else [net] for net in pair)
    switches = Switches(latent_dim)
    inside = hidden_gates(encoder, torch.zeros(1, *image_shape), decoder=False)
    outside = hidden_gates(decoder, torch.zeros(1, latent_dim + others), decoder=True)
    inside[-1] = LatentGate(switches)
    for gate in (switches, *inside, *outside):
        if isinstance(gate, Switches | HiddenGate):
            gate.optimizer_options = options
    return Networks(Gated(encoder, inside), Gated(decoder, outside, first=CodeGate(switches, others)))


@torch.no_grad()
def hidden_gates(layers: Sequence[nn.Module], x: Tensor, decoder: bool) -> list[Gate | None]:
    """A gate for each layer that is an activation, by the shape of what it gives for x."""
    gates: list[Gate | None] = []
    for layer in layers:
        x = layer(x)
        activation = isinstance(layer, tuple(ACTIVATIONS.values()))
        gates.append(HiddenGate(x.shape[1], x.ndim - 2, decoder) if activation else None)
    return gates

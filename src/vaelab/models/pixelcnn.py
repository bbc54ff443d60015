"""An autoregressive prior over codes: PixelCNN over their map, NADE over the codes of a place."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from vaelab.functional.randomness import uniform
from vaelab.models.numbers import check_whole
from vaelab.models.priors import Density, Prior

__all__ = ["AutoregressiveCodes", "PixelCNN"]

FIRST, KERNEL = 7, 3  # places that the first layer and each further one reach over


class PixelCNN(Prior):
    """p(codes) = prod_i p(code_i | code_<i), in the order (row, column, group) of a map (G, h, w) of codes.

    Over the places it is the gated PixelCNN of "Conditional Image Generation with PixelCNN Decoders" (van den
    Oord et al., 2016, arXiv:1606.05328). A vertical stack of convolutions sees the rows above; a horizontal
    one sees the row at the left and the vertical stack, so that nothing before a place is hidden from it.
    Convolutions are shifted in place of masked. A learned number for each place and channel tells places
    apart. Over the G codes of one place it is "The Neural Autoregressive Distribution Estimator" (Larochelle
    & Murray, 2011): with x the features of the horizontal stack at a place,

        logits_g = V_g relu(W x + b_g + sum_{j<g} E_j[code_j]) + c_g,

    c_g is one for each place. V begins at 0, so that the network begins as independent codes, which
    :meth:`begin_at` sets.

    So it holds for a map with one code a place (G = 1) as for a vector of n codes (G = n, h = w = 1).

    Shapes: B images; n = G h w codes an image, in the order (group, row, column) in which the posterior has
    them; K codes to choose from.

    Args:
        code_shape: (G, h, w).
        number_of_codes: K.
        width: channels of every layer.
        layers: after the first, which reaches over three places each way; each of them reaches one further.

    Raises:
        ValueError: ``code_shape`` has not three whole numbers >= 1, or another number is too small.
    """

    needs = frozenset({"codes"})

    def __init__(
        self, code_shape: Sequence[int], number_of_codes: int, width: int = 64, layers: int = 4
    ) -> None:
        super().__init__()
        if len(code_shape) != 3:
            raise ValueError(f"code_shape must be (groups, rows, columns), got {tuple(code_shape)}")
        for size in code_shape:
            check_whole("each number of code_shape", size, least=1)
        check_whole("number_of_codes", number_of_codes, least=2)
        check_whole("width", width, least=1)
        check_whole("layers", layers, least=0)
        groups, rows, columns = self.code_shape = tuple(code_shape)
        self.number_of_codes = number_of_codes
        # of the places before: the sum of a vector for each of their codes
        self.outer = nn.Parameter(torch.randn(groups, number_of_codes, width) / groups**0.5)
        self.first = GatedLayer(width, FIRST, first=True)
        self.position = nn.Parameter(torch.zeros(width, rows, columns))
        self.layers = nn.ModuleList(GatedLayer(width, KERNEL) for _ in range(layers))
        # of one place
        self.context = nn.Conv2d(width, width, kernel_size=1)
        self.inner = nn.Parameter(torch.randn(groups, number_of_codes, width) / (width * groups) ** 0.5)
        self.inner_bias = nn.Parameter(torch.zeros(groups, width))
        self.weight = nn.Parameter(torch.zeros(groups, width, number_of_codes))
        self.bias = nn.Parameter(torch.zeros(groups, rows * columns, number_of_codes))

    @torch.no_grad()
    def begin_at(self, log_p: Tensor) -> None:
        """Take the logits of independent codes, (n, K), for those that are the same for every image."""
        self.bias.copy_(log_p.view_as(self.bias))

    def logits(self, codes: Tensor) -> Tensor:
        """Codes (B, n) -> log p(code_i = k | code_<i), not normalised, (B, n, K)."""
        maps = codes.unflatten(-1, self.code_shape).flatten(2)  # (B, G, h w)
        return self.inside(self.outside(maps), maps, self.bias).flatten(1, 2)

    def outside(self, maps: Tensor) -> Tensor:
        """What each place knows of the places before it: codes (B, G, h w) -> (B, h w, width)."""
        x = chosen(self.outer, maps).sum(1).transpose(1, 2).unflatten(-1, self.code_shape[1:])
        above, before = self.first(x, x)
        before = before + self.position
        for layer in self.layers:
            above, before = layer(above, before)
        return self.context(before).flatten(2).transpose(1, 2)

    def inside(self, known: Tensor, maps: Tensor, bias: Tensor) -> Tensor:
        """Logits from what P places know, their codes and biases.

        (B, P, width), (B, G, P), (G, P, K) -> (B, G, P, K).
        """
        earlier = pad(chosen(self.inner, maps)[:, :-1], (0, 0, 0, 0, 1, 0)).cumsum(1)  # groups
        hidden = (known[:, None] + self.inner_bias[:, None] + earlier).relu()
        return hidden @ self.weight + bias

    def log_prob_of(self, codes: Tensor) -> Tensor:
        """log p(codes) in nats: (B, n) -> (B,)."""
        log_p = self.logits(codes).log_softmax(-1)
        return log_p.gather(-1, codes[..., None]).squeeze(-1).sum(-1)

    def choose(self, u: Tensor) -> Tensor:
        """Numbers (N, n), uniform on [0, 1] -> codes (N, n), each the quantile of its number in its turn."""
        u = u.unflatten(-1, (self.code_shape[0], prod(self.code_shape[1:])))
        maps = torch.zeros_like(u, dtype=torch.long)
        for place in range(maps.shape[-1]):
            here = slice(place, place + 1)
            known = self.outside(maps)[:, here]
            for group in range(maps.shape[1]):
                logits = self.inside(known, maps[..., here], self.bias[:, here])[:, group, 0]
                up_to = logits.softmax(-1).cumsum(-1)
                maps[:, group, place] = (u[:, group, place, None] >= up_to[:, :-1]).sum(-1)
        return maps.flatten(1)

    def bind(self, posterior: Any, encode: Callable[[Tensor], Any]) -> Density:
        return AutoregressiveCodes(self, posterior)


class AutoregressiveCodes(NamedTuple):
    """The density of a :class:`PixelCNN` over the codes of a posterior (:mod:`vaelab.models.codebooks`).

    log p is the logarithm of a probability.
    """

    network: PixelCNN
    posterior: Any

    def log_prob_of(self, codes: Tensor) -> Tensor:
        """log p(codes) in nats: (B, n) -> (B,)."""
        return self.network.log_prob_of(codes)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p in nats of the codes that the posterior chooses for z: (..., D) -> (...)."""
        codes = self.posterior.nearest(z.detach())
        return self.network.log_prob_of(codes.flatten(0, -2)).view(codes.shape[:-1])

    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise (N, D) -> samples (N, D): a number of the noise chooses each code."""
        z: Tensor = self.posterior.vectors(self.network.choose(uniform(self.posterior.numbers(noise))))
        return z


class GatedLayer(nn.Module):
    """A layer of both stacks: tanh(a) sigmoid(b), where a and b are halves of a convolution's channels.

    At a place the vertical stack's v (B, C, h, w) knows rows above, and the horizontal stack's x knows these
    and what is at the left. The first layer gets the codes themselves as both, and leaves out the place's own
    row and column. In others that row and column know no more than may be known, and x is added to the
    result.
    """

    def __init__(self, width: int, kernel: int, first: bool = False) -> None:
        super().__init__()
        self.reach, self.is_first = kernel // 2, first
        steps = self.reach + (not first)
        self.vertical = nn.Conv2d(width, 2 * width, kernel_size=(steps, kernel))
        self.horizontal = nn.Conv2d(width, 2 * width, kernel_size=(1, steps))
        self.across = nn.Conv2d(2 * width, 2 * width, kernel_size=1)
        self.out = nn.Conv2d(width, width, kernel_size=1)

    def forward(self, v: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = x.shape[-2:]
        above = self.vertical(pad(v, (self.reach, self.reach, self.reach, 0)))[..., :rows, :]
        left = self.horizontal(pad(x, (self.reach, 0)))[..., :columns]
        change = self.out(gated(left + self.across(above)))
        return gated(above), change if self.is_first else x + change


def gated(x: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()


def chosen(table: Tensor, maps: Tensor) -> Tensor:
    """Rows of a table for each group, (G, K, C), by codes (B, G, P) -> (B, G, P, C)."""
    groups = torch.arange(len(table), device=maps.device)[:, None]
    return table[groups, maps]

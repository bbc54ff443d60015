"""The logistic distributions that fit histograms best, cut into the histogram's bins: a convex problem."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["fit_discretized_logistic"]

ITERATIONS = 200  # of Newton; 10 to 30 are common
GAP = 1e-9  # half the Newton decrement, in nats, at which a fit has arrived
PART = 8192  # histograms whose edges are computed at once, to bound memory


def fit_discretized_logistic(counts: Tensor, greatest: float, shared: bool = False) -> tuple[Tensor, Tensor]:
    """argmin over (mu, s) of -sum_k counts_k log P(k), for each histogram by itself.

    P(k) = F((e_k - mu)/s) - F((e_(k-1) - mu)/s) with the sigmoid F and the edges e_k halfway between
    neighbouring levels 0, 1/(L-1), ..., 1; the first and the last bin reach to infinity. With a = 1/s,
    b = mu/s and t_k = a e_k - b,

        log P(k) = log F(t_k) + log F(-t_(k-1)) + log(1 - exp(-a / (L-1))),

    without the third term and one of the others in the first and in the last bin. Every term is concave in
    (a, b), so Newton's method with a line search finds the maximum from any start.

    Args:
        counts: (P, L), one histogram a row, >= 0. Some weight in an inner bin keeps the scale finite, and
            some in two bins the location.
        greatest: the bound of 1/s, which a row with one filled bin would take to infinity.
        shared: one s for all rows, in place of one for each.

    Returns:
        mu (P,), and log s, (P,) or (1,), in float64.
    """
    counts = counts.double()
    levels = counts.shape[1]
    grid = torch.linspace(0, 1, levels, dtype=torch.float64, device=counts.device)
    total = counts.sum(1)
    mean = counts @ grid / total
    variance = (counts @ grid.square() / total - mean.square()).clamp(min=0)

    def over_rows(values: Tensor) -> Tensor:
        return values.sum(0, keepdim=True) if shared else values

    width = 1 / (levels - 1)
    spread = (over_rows(variance * total) / over_rows(total)).sqrt().clamp(min=width)
    a = (math.pi / math.sqrt(3) / spread).clamp(max=greatest)
    b = mean * a
    inner = counts[:, 1:-1].sum(1)
    for _ in range(ITERATIONS):
        value, (grad_a, grad_b), (aa, ab, bb) = _derivatives(counts, inner, a, b)
        # the Newton step of an arrow-shaped system: b is eliminated row by row; a at its bound stays there
        bb = bb + 1e-12 * total
        reduced = over_rows(aa - ab.square() / bb)
        toward = over_rows(grad_a - ab * grad_b / bb)
        step_a = toward / (reduced + 1e-12 * over_rows(aa) + 1e-300)
        step_a = torch.where((a >= greatest) & (step_a > 0), 0.0, step_a)
        step_b = (grad_b - ab * step_a) / bb
        slope = over_rows(grad_a * step_a + grad_b * step_b)
        if slope.max() < 2 * GAP * float(over_rows(total).max()):
            break
        a, b = _line_search(counts, inner, (a, b), (step_a, step_b), value, slope, greatest, over_rows)
    return b / a, -a.log()


def _derivatives(
    counts: Tensor, inner: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Of each row's log-likelihood: its value, its gradient, and minus its second derivatives, all (P,)."""
    levels = counts.shape[1]
    edges = (torch.arange(levels - 1, dtype=counts.dtype, device=counts.device) + 0.5) / (levels - 1)
    parts = []
    rows = zip(*(values.split(PART) for values in (counts, a.expand_as(b), b)), strict=True)
    for part, slope, shift in rows:
        t = slope[:, None] * edges - shift[:, None]
        below, above = part[:, :-1], part[:, 1:]
        value = (below * logsigmoid(t) + above * logsigmoid(-t)).sum(1)
        chance = t.sigmoid()
        first = below * (1 - chance) - above * chance
        second = (below + above) * chance * (1 - chance)
        by_a, by_b = first @ edges, -first.sum(1)
        parts.append((value, by_a, by_b, second @ edges.square(), -(second @ edges), second.sum(1)))
    value, by_a, by_b, aa, ab, bb = (torch.cat(column) for column in zip(*parts, strict=True))
    w = 1 / (levels - 1)
    value = value + inner * torch.log(-torch.expm1(-w * a))
    by_a = by_a + inner * w / torch.expm1(w * a)
    aa = aa + inner * (0.5 * w / torch.sinh(0.5 * w * a)).square()
    return value, (by_a, by_b), (aa, ab, bb)


def _line_search(
    counts: Tensor,
    inner: Tensor,
    start: tuple[Tensor, Tensor],
    step: tuple[Tensor, Tensor],
    value: Tensor,
    slope: Tensor,
    greatest: float,
    over_rows: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """The first of the steps 1, 1/2, 1/4, ... that gains at least a tenth of what the slope promises.

    1/s stays positive and at most ``greatest``.
    """
    (a, b), (step_a, step_b) = start, step
    room = torch.where(step_a < 0, -0.9 * a / step_a, (greatest - a) / step_a.clamp(min=1e-300))
    size = room.clamp(max=1.0)
    value = over_rows(value)
    for _ in range(40):
        new_a, new_b = a + size * step_a, b + size * step_b
        found = over_rows(_derivatives(counts, inner, new_a, new_b)[0])
        enough = found >= value + 0.1 * size * slope - 1e-12 * value.abs()
        if enough.all():
            break
        size = torch.where(enough, size, size / 2)
    else:
        size = torch.where(enough, size, 0.0)
    return (a + size * step_a).clamp(max=greatest), b + size * step_b

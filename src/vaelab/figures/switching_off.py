"""The latent dimensions of a multi-rate model, or the channels of its latent maps, over beta."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.figures.map_places import kl_of_channels
from vaelab.figures.plots import DIMENSION
from vaelab.figures.style import SERIES, new_figure, style_axes
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.rate_condition import RateCondition

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["kl_over_beta", "switching_off"]

POINTS = 81  # of beta, from the least to the largest of the training
OFF = 0.01  # nats of KL below which a dimension, or a channel, is marked as switched off
MOST_NAMES = 16  # in the legend


@torch.no_grad()
def kl_over_beta(model: Autoencoder, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The betas (T,) and the mean KL of each dimension over the images x (B, C, H, W) at each, (T, D).

    Of latent maps (C', h, w) that of each channel, summed over its places, (T, C').
    """
    condition = model.condition
    if not isinstance(condition, RateCondition):
        raise ValueError("the model was trained with one beta")
    ends = torch.tensor([condition.low, condition.high], dtype=torch.float64).log()
    betas = torch.linspace(float(ends[0]), float(ends[1]), POINTS, dtype=torch.float64).exp()
    betas = betas.clamp(condition.low, condition.high)
    kl = [model.kl_per_dimension(model.encode(x, y, beta)).mean(0).cpu() for beta in betas.tolist()]
    found = torch.stack(kl)
    if len(model.latent_shape) > 1:
        found = kl_of_channels(found.unflatten(-1, model.latent_shape))
    return betas, found


def switching_off(betas: Tensor, kl: Tensor, what: str = DIMENSION) -> "Figure":
    """Lines of the KL of each dimension, (T, D), over beta, (T,), with a dot where it is switched off.

    Dimensions are in the order in which they are switched off, the last first. ``what`` they are, if not
    dimensions.
    """
    on = (kl > OFF).sum(0)
    order = torch.stack([on.double(), kl.sum(0).double()]).T.tolist()
    figure = new_figure(6.5, 3.8)
    axes = figure.subplots()
    for place, d in enumerate(sorted(range(kl.shape[1]), key=lambda d: order[d], reverse=True)):
        colour, dash = SERIES[place % len(SERIES)], ("-", "--", ":")[place // len(SERIES) % 3]
        last = int(on[d])
        label = f"{d}" if place < MOST_NAMES else None
        axes.plot(betas, kl[:, d], color=colour, linestyle=dash, linewidth=1.4, label=label)
        if 0 < last < len(betas):
            axes.plot(betas[last], kl[last, d], "o", color=colour, markersize=4)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.legend(title=what.removeprefix("latent "), fontsize=7, title_fontsize=8, frameon=False, ncols=2)
    title = f"KL of each {what}; a dot: below {OFF:g} nats from here on"
    style_axes(axes, xlabel="β", ylabel="KL (nats)", title=title)
    return figure

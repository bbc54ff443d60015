"""Where a latent map carries its nats."""

from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.figures.style import new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["kl_of_channels", "kl_of_places"]

MOST_CHANNELS = 7  # beside the sum


def kl_of_channels(kl: Tensor) -> Tensor:
    """KL of the numbers of maps, (..., C, h, w), summed over places: (..., C)."""
    return kl.sum((-2, -1))


def kl_of_places(kl: Tensor) -> "Figure":
    """The KL of each number of a latent map, (C, h, w) in nats, as pictures.

    The first sums over channels: the nats of each place. The others are the channels with the greatest KL,
    with one scale for all of them.
    """
    order = kl_of_channels(kl).argsort(descending=True)[:MOST_CHANNELS]
    figure = new_figure(2.1 * (len(order) + 1) + 1.0, 2.6)
    panels = figure.subplots(1, len(order) + 1, squeeze=False)[0]
    whole = panels[0].imshow(kl.sum(0).numpy(), cmap="viridis", vmin=0)
    style_axes(panels[0], title=f"all {len(kl)} channels: {kl.sum():.2f} nats")
    most = float(kl[order].max())
    for axes, channel in zip(panels[1:], order.tolist(), strict=True):
        mesh = axes.imshow(kl[channel].numpy(), cmap="viridis", vmin=0, vmax=most)
        style_axes(axes, title=f"channel {channel}: {kl[channel].sum():.2f} nats")
    for axes in panels:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(False)
    figure.colorbar(whole, ax=panels[0], label="KL of a place (nats)", shrink=0.8)
    figure.colorbar(mesh, ax=panels[-1], label="KL of a number (nats)", shrink=0.8)
    return figure

"""Where a latent map carries its nats."""

import numpy as np
import torch

from vaelab.figures.map_places import kl_of_channels, kl_of_places


def test_the_pictures_are_the_sum_over_channels_and_the_channels_in_order():
    kl = torch.rand(3, 2, 4) * torch.tensor([1.0, 5.0, 2.0])[:, None, None]
    assert torch.allclose(kl_of_channels(kl), torch.stack([part.sum() for part in kl]))
    order = kl_of_channels(kl).argsort(descending=True).tolist()
    panels = [axes for axes in kl_of_places(kl).axes if axes.images]
    shown = [np.asarray(axes.images[0].get_array()) for axes in panels]
    np.testing.assert_allclose(shown[0], kl.sum(0).numpy())
    for picture, channel, axes in zip(shown[1:], order, panels[1:], strict=True):
        np.testing.assert_array_equal(picture, kl[channel].numpy())
        assert axes.get_title() == f"channel {channel}: {kl[channel].sum():.2f} nats"
        assert axes.images[0].get_clim() == (0, float(kl[order[0]].max().maximum(kl.max())))


def test_of_many_channels_the_most_used_are_shown():
    kl = torch.rand(20, 3, 3)
    figure = kl_of_places(kl)
    assert sum(bool(axes.images) for axes in figure.axes) == 1 + 7

"""What each group of a hierarchy adds, seen through a decoder that draws z itself."""

import pytest
import torch
from torch import nn

from builders import images, random, vae
from vaelab.figures import generation
from vaelab.figures.pictures import sample_grids
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.ladder import Ladder
from vaelab.models.likelihoods import Gaussian
from vaelab.models.objectives import Distortion, Objective
from vaelab.models.priors import MixtureOfGaussians, Prior, StandardNormal

GROUPS = (1, 2, 1)
D = sum(GROUPS)


def hierarchy(prior: Prior | None = None) -> Autoencoder:
    """A ladder with random weights, whose images are z: (1, 1, D)."""
    ladder = Ladder(D, GROUPS, width=3)
    with torch.no_grad():
        for weight in ladder.parameters():
            weight.copy_(torch.randn(weight.shape, generator=random()))
    return Autoencoder(
        nn.Sequential(nn.Flatten(), nn.Linear(D, ladder.parameter_count)),
        nn.Unflatten(1, (1, 1, D)),
        ladder,
        prior or StandardNormal(),
        Gaussian(1.0),
        Objective({"distortion": Distortion()}),
    )


@torch.no_grad()
def test_groups_below_are_at_the_mean_of_their_prior():
    model = hierarchy()
    x = images(5, (1, 1, D))
    rows, labels = generation.layers(model, x)
    assert rows.shape == (7, 5, 1, 1, D)
    assert [label.partition(":")[0] for label in labels] == [
        "original",
        *["group 0", "groups 0 to 1", "groups 0 to 2"] * 2,
    ]
    torch.testing.assert_close(rows[0], x)
    torch.testing.assert_close(rows[3], model.reconstruct(x))
    ladder, loc = model.posterior, model.encode(x).loc
    for first, last in ((1, 3), (4, 6)):
        z = rows[first].flatten(1)  # of group 0 alone
        if first == 1:
            torch.testing.assert_close(z[:, :1], loc[:, :1])
        state = torch.relu(ladder.states[0](z[:, :1]))
        torch.testing.assert_close(z[:, 1:3], ladder.priors[0](state)[:, :2])
        state = torch.relu(ladder.states[1](torch.cat([state, z[:, 1:3]], dim=1)))
        torch.testing.assert_close(z[:, 3:], ladder.priors[1](state)[:, :1])
        # the groups that are kept are the same in every row
        torch.testing.assert_close(rows[first + 1].flatten(1)[:, :1], rows[last].flatten(1)[:, :1])
        torch.testing.assert_close(rows[first + 1].flatten(1)[:, :3], rows[last].flatten(1)[:, :3])
        assert (rows[first + 1] - rows[first]).abs().max() > 0.1


@pytest.mark.parametrize(("prior", "drawn"), [(StandardNormal, True), (lambda: MixtureOfGaussians(D), False)])
def test_the_picture_is_drawn_of_a_hierarchy_whose_prior_has_its_mean_at_zero(prior, drawn):
    x = images(9, (1, 1, D))
    assert ("layers" in sample_grids(hierarchy(prior()), x, None, (0.0, 1.0))) == drawn
    assert "layers" not in sample_grids(vae(), images(9), None, (0.0, 1.0))

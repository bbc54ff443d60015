"""From config to objects: what a part gets, and what is said of a name that does not exist."""

import pytest
import torch
from hydra import compose, initialize_config_dir

from vaelab.cli.paths import conf_dir
from vaelab.errors import UserError
from vaelab.training.assembly import build, build_autoencoder, build_data, run_context
from vaelab.types import RunContext


def test_a_part_gets_what_its_signature_names_of_the_context():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", ["model=conditional_vae", "prior=vamp", "model.latent_dim=2"])
    data = build_data(cfg)
    context = run_context(cfg, data)
    assert context[:-1] == ((1, 8, 8), 2, len(data.train), 10, "", (0.0, 1.0), None, None, (), None)
    torch.testing.assert_close(context.mean_image, data.train.x[:1000].mean(0))
    prior = build("prior", cfg.prior, context)
    # noise 0.1 over the root of 50
    assert (prior.pseudo_inputs.mean(0) - context.mean_image).abs().max() < 0.08
    assert build("model.condition", cfg.model.condition, context).channels == 10
    assert RunContext.from_plain(context.plain()) == context._replace(mean_image=None)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("vaelab.models.objectives.LinearSchedule", "has no such name."),
        ("vaelab.priors.VampPrior", "Did you mean 'vaelab.models.VampPrior'?"),
        (
            "my_package.Prior",
            "there is no package 'my_package', neither installed, nor in the current folder",
        ),
        ("torch.nn.Liner", "has no module or name 'Liner'. Did you mean 'Linear'?"),
        ("torch.nn", "it is of type module, not a class or a function."),
        ("prior", "it must be a dotted name"),
    ],
)
def test_a_target_that_does_not_exist_is_refused_by_its_key(target, message):
    with pytest.raises(UserError) as caught:
        build("prior", {"_target_": target})
    text = str(caught.value)
    assert text.startswith(f"prior._target_={target}: ")
    assert message in text
    assert ("train the run again or use that version" in text) == target.startswith("vaelab.")


@pytest.mark.parametrize("value", [1.5, 2.0, True, -1, "two"])
@pytest.mark.parametrize(
    ("key", "settings", "least"),
    [
        ("network.blocks", ["network=resnet", "network.dense=8"], 0),
        ("network.dense", ["network=resnet"], 1),
        ("network.dense", ["network=conv"], 1),
        ("prior.components", ["prior=mog"], 1),
        ("prior.components", ["prior=vamp"], 1),
        ("prior.transforms", ["prior=flow"], 1),
        ("model.posterior.codes", ["model=vq_vae"], 2),
        ("model.posterior.code_dim", ["model=vq_vae"], 1),
    ],
)
def test_what_counts_something_is_a_whole_number(key, settings, least, value):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [*settings, f"{key}={value}"])
    context = RunContext((1, 8, 8), cfg.model.latent_dim, 100, mean_image=torch.zeros(1, 8, 8))
    refused = f" must be a whole number >= {least}, got -1$" if value == -1 else "=.*: must be a whole number"
    with pytest.raises(UserError, match=f"^{key}{refused}"):
        build_autoencoder(cfg, context)

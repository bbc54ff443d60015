"""The conditional VAE: where the label goes in, what it does, and data without labels."""

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import vaelab
from builders import elbo_terms, images, random, vae
from cli_runner import small, trained
from support.stacking import assert_stacked_as_alone
from vaelab.cli.paths import conf_dir
from vaelab.errors import UserError
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.conditions import LabelCondition
from vaelab.models.networks import conv, mlp
from vaelab.models.objectives import Objective
from vaelab.models.posteriors import DiagonalGaussian
from vaelab.models.priors import StandardNormal
from vaelab.training.assembly import build_data
from vaelab.training.setup import build_module

K, D, SHAPE = 3, 2, (1, 8, 8)
Y = torch.tensor([0, 2, 1, 1, 0])


def conditional(network=mlp, seed: int = 0) -> Autoencoder:
    torch.manual_seed(seed)
    encoder, decoder = network((SHAPE[0] + K, *SHAPE[1:]), D + K, 2 * D, 1, (8,))
    return Autoencoder(
        *(encoder, decoder, DiagonalGaussian(D), StandardNormal(), vae().likelihood),
        Objective(elbo_terms()),
        condition=LabelCondition(K),
    )


# the parts


def test_the_label_is_one_hot_in_planes_and_in_the_decoders_input():
    condition, x, z = LabelCondition(K), images(5, SHAPE), torch.randn(4, 5, D, generator=random())
    seen, latent = condition.image(x, Y), condition.latent(z, Y)
    assert seen.shape == (5, 1 + K, 8, 8)
    assert latent.shape == (4, 5, D + K)
    torch.testing.assert_close(seen[:, :1], x)
    torch.testing.assert_close(latent[..., :D], z)
    for b, label in enumerate(Y.tolist()):
        for k in range(K):
            assert (seen[b, 1 + k] == float(k == label)).all()
            assert (latent[:, b, D + k] == float(k == label)).all()


def test_classes_come_in_turn():
    assert LabelCondition(3).in_turn(7).tolist() == [0, 1, 2, 0, 1, 2, 0]


# the model


@pytest.mark.parametrize("network", [mlp, conv])
def test_encoder_and_decoder_both_get_the_label(network):
    model, x = conditional(network), images(5, SHAPE)
    noise = model.draw_noise(5, random(), samples=2)
    output = model(x, noise, y=Y)
    other = model(x, noise, y=(Y + 1) % K)
    assert output.stats.z.shape == (2, 5, D)
    assert output.decoded.shape == (2, 5, *SHAPE)
    assert ((output.stats.loc - other.stats.loc).abs().amax(1) > 1e-4).all()
    z = torch.zeros(5, D)
    assert ((model.decode(z, Y) - model.decode(z, (Y + 1) % K)).abs().flatten(1).amax(1) > 1e-4).all()
    # each image gets its own
    for b in range(5):
        alone = model.encode(x[b : b + 1], Y[b : b + 1]).loc[0]
        torch.testing.assert_close(output.stats.loc[b], alone)


def test_the_label_is_needed():
    model = conditional()
    with pytest.raises(ValueError, match="needs the labels"):
        model.encode(images(5, SHAPE))
    with pytest.raises(ValueError, match="needs the labels"):
        model.decode(torch.zeros(2, D))


@pytest.mark.parametrize("y", [torch.tensor([0, 3]), torch.tensor([-1, 0]), torch.tensor([0.0, 1.5])])
def test_a_label_that_the_model_does_not_know_is_refused(y):
    model = conditional()
    message = rf"labels must be whole numbers from 0 to {K - 1}, got (3|-1|1\.5)$"
    with pytest.raises(ValueError, match=message):
        model.encode(images(2, SHAPE), y)
    with pytest.raises(ValueError, match=message):
        model.decode(torch.zeros(2, D), y)


def test_conditional_models_stack():
    models = [conditional(seed=seed) for seed in range(2)]
    assert_stacked_as_alone(models, images(5, SHAPE), [models[0].draw_noise(5, random())] * 2, y=Y)


# through the command line


def test_data_without_labels_are_refused_before_training(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((60, 8, 8), dtype=np.uint8))
    result = small(
        tmp_path, "model=conditional_vae", "data=npz", f"data.path={tmp_path / 'x.npz'}",
        "data.train_size=20", "data.val_size=10",
    )  # fmt: skip
    assert result.code != 0
    assert "the data have none" in result.err + result.out
    assert "Traceback" not in result.err + result.out


def test_labels_that_are_no_classes_are_refused_where_they_are_used(tmp_path):
    """By name and before training; without a condition they may be anything."""
    x, y = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8), np.arange(60) % 3

    def made(*overrides: str, **arrays: np.ndarray):
        np.savez(tmp_path / "x.npz", x=x, **arrays)
        settings = ["data=npz", f"data.path={tmp_path / 'x.npz'}", "data.val_size=10", *overrides]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("train", settings)
        return build_module(cfg, build_data(cfg)).model

    for message, arrays in {
        "images have the label -1, where K classes are numbered 0, ..., K-1": {"y": y - 1},
        "images have the label 1000000000000": {"y": y * 500_000_000_000},
        "the test images have none": {"y": y, "x_test": x[:20]},
    }.items():
        with pytest.raises(UserError, match=message):
            made("model=conditional_vae", **arrays)
        assert made("model=vae", **arrays).condition.features == 0
    with pytest.raises(UserError, match=r"model.condition: labels .* from 0 to 1, got 2\."):
        made("model=conditional_vae", "+model.condition.num_classes=2", y=y)
    assert made("model=conditional_vae", y=y).condition.features == 3


def test_a_loaded_model_checks_labels(tmp_path):
    loaded = vaelab.load(trained(tmp_path, "model=conditional_vae", "callbacks=none").folder)
    with pytest.raises(vaelab.UserError, match="from 0 to 9, got 10"):
        loaded.encode(np.zeros((1, 1, 8, 8), np.float32), [10])
    with pytest.raises(vaelab.UserError, match="needs the labels y"):
        loaded.decode(np.zeros((2, loaded.model.latent_dim), np.float32))
    with pytest.raises(vaelab.UserError, match=r"expected labels \(2,\)"):
        loaded.reconstruct(np.zeros((2, 1, 8, 8), np.float32), [1])


@pytest.mark.slow
def test_a_conditional_vae_draws_the_digit_of_its_label(tmp_path):
    result = trained(
        tmp_path, "model=conditional_vae", "trainer.max_epochs=20", "data.train_size=null",
        "data.val_size=200",
        "network.hidden=[128]", "optimizer.lr=0.002", "callbacks.samples.every_n_epochs=null",
    )  # fmt: skip
    model = vaelab.load(result.folder).model
    assert model.condition.channels == 10
    digits = load_digits()
    judge = LogisticRegression(max_iter=2000).fit(digits.data / 16, digits.target)
    wanted = torch.arange(300) % 10
    judged = judge.predict(model.sample(300).flatten(1).numpy())
    assert (judged == wanted.numpy()).mean() > 0.7  # chance: 0.1
    assert (result.folder / "samples" / "interpolations.png").is_file()
    got = result.record["metrics"]
    assert sum(got["test/kl_per_dim"]) == pytest.approx(got["test/rate"], rel=1e-5)

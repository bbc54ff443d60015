"""Hydra's errors in plain words."""

import pytest

from vaelab.cli.compose import composed
from vaelab.cli.hints import error_text, known_keys, unknown_key
from vaelab.errors import UserError


def hydras_error(*settings: str) -> Exception:
    """What Hydra raises for these settings."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        composed("train", settings)
    return caught.value


def test_the_first_users_error_of_a_chain_is_what_is_said():
    outer, inner = RuntimeError("in call to target"), UserError("data.path is not set")
    outer.__cause__ = inner
    assert error_text(outer) == "data.path is not set"


@pytest.mark.parametrize(
    ("error", "text"),
    [(ValueError("one\ntwo"), "one"), (ValueError(), "ValueError"), (KeyError("x"), "'x'")],
)
def test_any_other_error_is_its_first_line(error, text):
    assert error_text(error) == text


def test_an_unknown_option_gets_the_nearest_one():
    assert error_text(hydras_error("model=betavae")) == (
        "model=betavae: there is no such option. Did you mean 'beta_vae'?"
    )


def test_an_unknown_option_like_no_other_gets_all_of_them():
    text = error_text(hydras_error("optimizer=lion"))
    assert text == "optimizer=lion: there is no such option. Valid names: adam, adamw."


@pytest.mark.parametrize("option", ["pixelcnn", "PixelCNN", "pixel_cnn", "code_prior"])
def test_a_prior_that_is_fitted_afterwards_is_named_with_its_command(option):
    text = error_text(hydras_error("model=vq_vae", f"prior={option}"))
    assert text.startswith(f"prior={option}: there is no such option. ")
    assert text.endswith(": vaelab-evaluate RUN eval=code_prior")


def test_what_can_not_be_read_is_quoted():
    text = error_text(hydras_error("name=a(b"))
    assert "'name=a(b'" in text
    assert "key=value" in text


@pytest.mark.parametrize(
    ("key", "arguments", "text"),
    [
        ("model.bta", [], "Did you mean 'model.beta'?"),
        ("trainer.maxepochs", [], "Did you mean 'trainer.max_epochs'?"),
        ("sed", [], "Did you mean 'seed'?"),
        ("lr", [], "Did you mean 'optimizer.lr'?"),
        ("beta", [], "Did you mean 'model.beta'?"),
        ("latentdim", [], "Did you mean 'model.latent_dim'?"),
        ("modle", [], "Did you mean 'model'?"),
        ("paths.xyz", [], "'paths' has: data, outputs."),
        ("likelihood.sigm", ["likelihood=gaussian"], "Did you mean 'likelihood.sigma'?"),
        ("model.beta", ["model=ae", "model.beta=1,2"], "'model' has: "),
        ("data.pth", ["data=npz", "other=mistake"], "'data' has: "),
        ("qqqqqqqq", [], "No valid name is like it."),
    ],
)
def test_an_unknown_key(key, arguments, text):
    said = unknown_key(key, arguments)
    assert said.startswith(f"There is no key {key!r}. ")
    assert text in said


def test_known_keys_are_those_of_the_chosen_options_and_the_groups():
    keys = known_keys(["likelihood=gaussian", "-m", "model.beta=1,2"], without="model.bta")
    assert {"likelihood.sigma", "model.beta", "seed", "network", "experiment"} <= keys
    assert "likelihood.sigma" not in known_keys([], without="x")


def test_a_sweeps_values_do_not_hide_the_other_choices():
    assert "likelihood.sigma" in known_keys(["likelihood=gaussian", "seed=0,1"], without="x")

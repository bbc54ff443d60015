"""Latent health of trained models, through the command line."""

import numpy as np
import pytest

from cli_runner import run, trained

BRIEF = ("trainer.accelerator=cpu", "logger=none", "callbacks=none", "threads=1")


@pytest.fixture(scope="module")
def blobs(tmp_path_factory) -> str:
    """8x8 images of one bright spot anywhere: a data set with two degrees of freedom."""
    rng = np.random.default_rng(0)
    centre = rng.uniform(1, 7, size=(1200, 2, 1, 1))
    row, column = np.mgrid[0:8, 0:8]
    x = np.exp(-((row - centre[:, 0]) ** 2 + (column - centre[:, 1]) ** 2) / 2).astype(np.float32)
    path = tmp_path_factory.mktemp("blobs") / "blobs.npz"
    np.savez(path, x=x)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "data", ["digits", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("sprites", "blobs"))]
)
def test_an_autoencoder_has_more_holes_than_a_vae(data, blobs, tmp_path):
    """Three data sets, three seeds each: in every one of them."""
    settings = {
        "digits": ("data=digits", "trainer.max_epochs=15"),
        "sprites": (
            "data=sprites",
            "data.size=16",
            "data.train_size=1500",
            "data.val_size=200",
            "trainer.max_epochs=10",
        ),
        "blobs": ("data=npz", f"data.path={blobs}", "trainer.max_epochs=15"),
    }[data]
    result = run(
        tmp_path,
        *(
            "-m",
            "model=ae,vae",
            "seed=0,1,2",
            "model.latent_dim=6",
            "network.hidden=[64]",
            "optimizer.lr=3e-3",
        ),
        *settings,
        *BRIEF,
    )
    assert result.code == 0, result.err
    for metric, times in (("hole_rate", 3), ("hole_rate_matched", 1)):
        rates = {"ae": [], "vae": []}
        for record in result.records.values():
            rates[record["variant"]].append(record["metrics"][f"test/{metric}"])
        assert all(len(found) == 3 for found in rates.values())
        assert min(rates["ae"]) > times * max(rates["vae"]), (metric, rates)


@pytest.mark.slow
def test_the_verdicts_of_trained_models(tmp_path):
    """beta = 0.5 uses every dimension, 2 some of them, 20 none."""
    result = run(
        tmp_path,
        *("-m", "model=beta_vae", "model.beta=0.5,2,20", "data=digits", "network.hidden=[100]"),
        *("trainer.max_epochs=25", "optimizer.lr=2e-3"),
        *BRIEF,
    )
    assert result.code == 0, result.err
    found = {record["beta"]: record["verdict"]["label"] for record in result.records.values()}
    assert found == {0.5: "healthy", 2: "pruned", 20: "collapsed"}
    assert "Pruned (the other dimensions are the same for every image): beta 2 (" in result.out


def test_conditional_and_coded_models_are_tested_too(tmp_path):
    for model in ("conditional_vae", "vq_vae"):
        record = trained(tmp_path / model, f"model={model}").record
        assert record["metrics"]["test/shuffle_gap"] is not None
        assert record["verdict"]["label"] in ("untrained", "healthy", "pruned", "collapsed")

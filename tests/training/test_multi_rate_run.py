"""A run of the multi-rate VAE: its record, its comparison, and what is measured of it afterwards."""

import json
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import numpy as np
import pytest
import torch

import vaelab
from cli_runner import process_put_back, run, trained
from support.wandb_files import read_runs as read_wandb_runs
from support.wandb_home import wandb_home
from vaelab.cli import evaluate as evaluate_command
from vaelab.evaluation.curve import crossing, greatest
from vaelab.functional.closed_forms import gaussian_images, linear_beta_vae
from vaelab.reports.records import read_runs
from vaelab.reports.table import build_table
from vaelab.runs.curve import beta_name, point_at, point_records
from vaelab.training.callbacks.history import read_rows

BETAS = [0.2, 1.0, 3.0]
SETTINGS = (
    *(
        "data=digits",
        "data.train_size=300",
        "data.batch_size=32",
        "network.hidden=[32]",
        "model.latent_dim=4",
    ),
    *("trainer.max_epochs=8", "callbacks=no_pictures"),
)


@pytest.fixture(scope="module")
def multi_rate(tmp_path_factory):
    """A run with W&B, offline."""
    tmp_path = tmp_path_factory.mktemp("multi_rate")
    with wandb_home(tmp_path / "wandb_home"):
        return trained(
            tmp_path / "out", "model=multi_rate_vae", f"model.betas={BETAS}", *SETTINGS, "logger=wandb"
        )


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("ordinary"), "model=beta_vae", *SETTINGS, "logger=none")


def evaluate(*arguments) -> tuple[int, str]:
    out = StringIO()
    with process_put_back(), redirect_stdout(out), redirect_stderr(out):
        sys.argv[:] = ["vaelab-evaluate", *map(str, arguments), "log=false", "udr=null", "device=cpu"]
        try:
            evaluate_command.main()
            return 0, out.getvalue()
        except SystemExit as stop:
            return int(stop.code or 0), out.getvalue()


def test_the_record_has_a_point_for_each_beta_with_every_number_of_a_run(multi_rate, ordinary):
    record = multi_rate.record
    assert [point["beta"] for point in record["curve"]] == BETAS
    expected = {name for name in ordinary.record["metrics"] if name.startswith(("val/", "test/"))}
    for point in record["curve"]:
        assert expected <= set(point["metrics"])
        assert (point["verdict"] is None) == (ordinary.record["verdict"] is None)
        assert (multi_rate.folder / "curve" / f"beta_{point['beta']:g}" / point["per_image"]).is_file()
    rates = [point["metrics"]["test/rate"] for point in record["curve"]]
    assert rates[0] > rates[1] > rates[2]
    assert ordinary.record["curve"] is None


def test_the_runs_own_numbers_are_those_at_beta_one(multi_rate):
    point = point_at(multi_rate.record, 1.0)
    for name, value in point["metrics"].items():
        assert multi_rate.record["metrics"][name] == value, name


def test_a_point_is_the_objective_of_the_model_at_its_beta(multi_rate):
    for point in multi_rate.record["curve"]:
        metrics = point["metrics"]
        by_hand = metrics["test/distortion"] + point["beta"] * metrics["test/rate"]
        assert metrics["test/objective"] == pytest.approx(by_hand, rel=1e-5)


def test_the_history_has_every_beta_under_a_name_of_its_own(multi_rate):
    for row in read_rows(multi_rate.folder / "history.csv"):
        objectives = [float(row[f"val/{beta_name(beta)}/objective"]) for beta in BETAS]
        assert float(row["val/objective"]) == pytest.approx(np.mean(objectives), rel=1e-5)
        assert float(row["val/beta_1/rate"]) == pytest.approx(float(row["val/rate"]), rel=1e-5)


def test_a_comparison_reads_it_as_a_sweep(multi_rate, ordinary):
    reading = read_runs([multi_rate.folder, ordinary.folder])
    assert reading.problems == []
    table = build_table(reading.runs)
    curve = table.series["multi_rate_vae"]
    assert [row.beta for row in curve] == BETAS
    assert [row.first.rate_weight for row in curve] == BETAS
    assert table.beta_series == {"multi_rate_vae": curve}
    for row, point in zip(curve, multi_rate.record["curve"], strict=True):
        assert table.number(row, "rate") == pytest.approx(point["metrics"]["test/rate"])
        assert row.first.images is not None


def test_its_model_at_any_beta_is_loaded(multi_rate):
    run = vaelab.load(multi_rate.folder)
    x = torch.rand(4, 1, 8, 8)
    ordinary = run.at(beta=2.5)
    assert ordinary.betas == []
    torch.testing.assert_close(run.encode(x, beta=2.5).loc, ordinary.encode(x).loc)
    torch.testing.assert_close(run.reconstruct(x), run.at(1.0).reconstruct(x))
    assert not torch.equal(run.sample(2, beta=0.2), run.sample(2, beta=3.0))
    with pytest.raises(vaelab.UserError, match=r"beta must be from 0\.05 to 8"):
        run.sample(2, beta=20.0)


def test_a_run_of_one_beta_says_so(ordinary):
    with pytest.raises(vaelab.UserError, match="one beta"):
        vaelab.load(ordinary.folder).at(2.0)
    code, out = evaluate(ordinary.folder, "beta=2")
    assert code == 1
    assert "trained with one beta" in out


def test_it_is_evaluated_at_any_beta(multi_rate, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(multi_rate.folder, folder)
    only = [f"eval.{name}=null" for name in ("sample_quality", "probes", "disentanglement_scores")]
    settings = ("eval.importance_nll.samples=3", "eval.importance_nll.images=20", "eval.latent_space=null")
    code, out = evaluate(folder, "beta=2.5", *only, *settings)
    assert code == 0, out
    record = json.loads((folder / "results.json").read_text())
    assert [point["beta"] for point in record["curve"]] == [0.2, 1.0, 2.5, 3.0]
    point = point_at(record, 2.5)
    assert "eval/nll_importance" in point["metrics"]
    assert not any(name.startswith("eval/") for name in record["metrics"])  # that is beta 1
    before, after = (point_at(record, beta)["metrics"]["test/rate"] for beta in (1.0, 3.0))
    assert after < point["metrics"]["test/rate"] < before
    # and with none given, at 1: its point and the run both have it
    assert evaluate(folder, *only, *settings)[0] == 0
    record = json.loads((folder / "results.json").read_text())
    nll = record["metrics"]["eval/nll_importance"]
    assert (
        nll
        == point_at(record, 1.0)["metrics"]["eval/nll_importance"]
        != point["metrics"]["eval/nll_importance"]
    )


@pytest.mark.parametrize("target", ["rate", "distortion"])
def test_a_target_is_answered_with_its_beta(multi_rate, tmp_path, target):
    folder = tmp_path / "copy"
    shutil.copytree(multi_rate.folder, folder)
    value = point_at(multi_rate.record, 0.2)["metrics"][f"val/{target}"]
    code, out = evaluate(folder, f"target.{target}={value}")
    assert code == 0, out
    found = float(out.split("beta ")[1].split()[0])
    assert found == pytest.approx(0.2, rel=1e-3)  # the noise in z is that of the validation


def test_a_target_off_the_curve_and_two_targets_are_refused(multi_rate):
    code, out = evaluate(multi_rate.folder, "target.rate=500")
    assert code == 1
    assert "target.rate=500: on this curve it goes from" in out
    code, out = evaluate(multi_rate.folder, "target.rate=1", "target.elbo=best")
    assert code == 1
    assert "give one of them" in out


def test_wandb_gets_the_curve(multi_rate):
    (run,) = read_wandb_runs(multi_rate.outputs / "wandb")
    for point in multi_rate.record["curve"]:
        name = f"test/{beta_name(point['beta'])}/rate"
        assert run.summary[name] == pytest.approx(point["metrics"]["test/rate"])
    assert "curve/table" in json.dumps(list(run.summary))


def test_a_point_that_is_damaged_is_refused():
    with pytest.raises(ValueError, match="no beta or no metrics"):
        list(point_records({"curve": [{"beta": None, "metrics": {}}]}))


def test_searches_find_what_is_known():
    assert crossing(lambda x: x**3, 0.5, -1.0, 2.0) == pytest.approx(0.5 ** (1 / 3))
    assert greatest(lambda x: -abs(x - 1.7), -3.0, 2.0) == pytest.approx(1.7, abs=1e-6)


EIGENVALUES = [6.0, 3.0, 1.8, 1.0, 0.35, 0.17, 0.08, 0.02, 0.02]
SIGMA = 0.5


@pytest.mark.slow
def test_on_linear_data_the_trained_curve_is_the_closed_form(tmp_path):
    file = tmp_path / "gaussian.npz"
    shape = (-1, 3, 3)
    np.savez(
        file,
        x=gaussian_images(EIGENVALUES, 5000).reshape(shape),
        x_test=gaussian_images(EIGENVALUES, 20_000, seed=1).reshape(shape),
    )
    betas = [0.12, 0.2, 0.4, 0.9, 1.3, 3.0, 5.5, 7.5]
    result = run(
        tmp_path / "out",
        *("model=multi_rate_vae", "network=linear", "likelihood=gaussian", f"likelihood.sigma={SIGMA}"),
        *("data=npz", f"data.path={file}", "data.val_size=0", "data.batch_size=1000", "model.latent_dim=8"),
        *(f"model.betas={betas}", "model.gates_lr_factor=1", "optimizer.lr=4e-3", "model.weights=last"),
        *("trainer.max_epochs=600", "trainer.accelerator=cpu", "callbacks=none", "logger=none"),
        *("metrics.decoder_test=null", "metrics.aggregate_posterior=null"),
    )
    assert result.code == 0, result.err + result.out
    for beta in betas:
        exact, metrics = (
            linear_beta_vae(EIGENVALUES, SIGMA, beta, 8),
            point_at(result.record, beta)["metrics"],
        )
        assert metrics["test/rate"] == pytest.approx(exact.rate, abs=0.05), beta
        assert metrics["test/distortion"] == pytest.approx(exact.distortion, abs=0.05), beta
        assert metrics["test/active_units"] == exact.active_units, beta

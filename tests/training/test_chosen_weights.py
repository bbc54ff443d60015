"""Which weights are measured: of the least held-out value of what the variant minimises, or the last."""

import csv
import json
import math
import shutil

import numpy as np
import pytest
import torch

import vaelab
from cli_runner import Result, read_record, run, small, trained
from vaelab.data.digits import load_digits
from vaelab.evaluation.trained_run import TrainedRun
from vaelab.reports.report import compare

QUICK = ("callbacks=no_pictures",)
# with beta = 0.01 the rate rises in every epoch, for a distortion that soon falls no more
LOW_BETA = ("data.train_size=8", "data.val_size=200", "optimizer.lr=0.1", "trainer.max_epochs=24", *QUICK)


def history(result: Result, name: str) -> list[float]:
    with (result.folder / "history.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def elbo(metrics: dict[str, float], beta: float = 1.0) -> float:
    return metrics["distortion"] + beta * metrics["rate"]


OBJECTIVES = {
    ("model=vae",): lambda m: -m["elbo"],
    ("model=beta_vae", "model.beta=0.25"): lambda m: elbo(m, 0.25),
    ("model=annealed_vae", "model.beta=3"): lambda m: elbo(m, 3),
    ("model=cyclical_vae", "model.beta=2"): lambda m: elbo(m, 2),
    ("model=vae", "model.beta={_target_: vaelab.models.RampSchedule, stop: 8, end: 999, unit: steps}"): (
        lambda m: elbo(m, 8)
    ),
    ("model=vamp_vae",): elbo,
    ("model=sigma_vae",): elbo,
    ("model=conditional_vae",): elbo,
    ("model=iwae",): lambda m: -m["importance_bound"],
    ("model=iwae", "model.gradient=dreg"): lambda m: -m["importance_bound"],
    ("model=ae",): lambda m: m["distortion"],
    ("model=denoising_ae",): lambda m: m["distortion"],  # of clean images, as all held-out numbers
}


@pytest.mark.parametrize("settings", OBJECTIVES, ids=" ".join)
def test_the_objective_is_its_closed_expression_in_every_epoch(tmp_path, settings):
    result = trained(tmp_path, *settings, "trainer.max_epochs=2", *QUICK)
    metrics = result.record["metrics"]
    for split in ("val", "test"):
        found = {name.removeprefix(f"{split}/"): value for name, value in metrics.items()}
        assert found["objective"] == pytest.approx(OBJECTIVES[settings](found), rel=1e-5)
        assert 0 < found["objective_se"] < found["distortion"]
    columns = ["elbo", "rate", "distortion", "importance_bound"]
    with (result.folder / "history.csv").open() as file:
        for row in csv.DictReader(file):
            found = {name: float(row.get(f"val/{name}") or math.nan) for name in columns}
            assert float(row["val/objective"]) == pytest.approx(OBJECTIVES[settings](found), rel=1e-5)


@pytest.mark.parametrize(("model", "codes_too"), [("vq_vae", 1.0), ("vq_vae_ema", 0.0)])
def test_the_objective_of_codes(tmp_path, model, codes_too):
    result = trained(tmp_path, f"model={model}", "model.commitment=0.5", *QUICK)
    trained_model, test = vaelab.load(result.folder).model, load_digits().test.x
    with torch.no_grad():
        q = trained_model.posterior_parameters(test.float() / 16 if test.max() > 1 else test)
    apart = (q.encoded - q.loc).square().sum(-1).mean().item()
    metrics = result.record["metrics"]
    expected = metrics["test/distortion"] + (codes_too + 0.5) * apart
    assert metrics["test/objective"] == pytest.approx(expected, rel=1e-4)


def test_the_objective_of_a_regularized_autoencoder(tmp_path):
    settings = ("model=regularized_ae", "model.latent_l2=0.3", "model.decoder_l2=0.01", *QUICK)
    result = trained(tmp_path, *settings)
    model, test = vaelab.load(result.folder).model, load_digits().test.x
    with torch.no_grad():
        z = model.posterior_parameters(test.float() / 16 if test.max() > 1 else test).loc.numpy()
    decoder = sum((part.detach().numpy() ** 2).sum() for part in model.decoder.parameters())
    metrics = result.record["metrics"]
    expected = metrics["test/distortion"] + 0.3 * 0.5 * (z**2).sum(1).mean() + 0.01 * decoder
    assert metrics["test/objective"] == pytest.approx(expected, rel=1e-4)


def test_the_objective_chooses_where_the_elbo_prefers_another_epoch(tmp_path):
    result = trained(tmp_path, "model=beta_vae", "model.beta=0.01", *LOW_BETA)
    objective, by_elbo = history(result, "val/objective"), history(result, "val/elbo")
    chosen = int(np.argmin(objective))
    assert chosen not in (int(np.argmax(by_elbo)), len(objective) - 1)
    checkpoint = torch.load(result.folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["epoch"] == chosen
    record = result.record
    assert (record["weights"], record["weights_choice"]) == ("checkpoints/best.ckpt", "best")
    assert record["metrics"]["val/objective"] == pytest.approx(min(objective), rel=1e-5)
    assert record["metrics"]["val/elbo"] < max(by_elbo) - 0.1


BY_THE_LAST = [
    *("info_vae", "wae_mmd", "beta_tc_vae", "factor_vae", "dip_vae_i", "dip_vae_ii"),
    *("capacity_vae", "geco_vae", "target_rate_vae", "free_bits_vae"),
]


@pytest.mark.parametrize("model", BY_THE_LAST)
def test_without_such_a_value_the_last_weights_are_measured_and_best_is_refused(tmp_path, model):
    result = small(tmp_path / "refused", f"model={model}", "model.weights=best")
    assert result.code == 2
    assert "model.weights=best: no validation value of model.objective." in result.err
    assert result.err.strip().endswith("Use model.weights=last.")
    assert len(result.err.strip().splitlines()) == 1
    explained = small(tmp_path, f"model={model}", "--explain")
    assert "measured at the last\n" in explained.out


def test_the_last_weights(tmp_path):
    result = trained(tmp_path, "model=info_vae", *LOW_BETA)
    record = result.record
    assert (record["weights"], record["weights_choice"]) == ("checkpoints/last.ckpt", "last")
    assert not (result.folder / "checkpoints" / "best.ckpt").exists()
    assert record["metrics"]["val/objective"] is None
    # the metrics of the last epoch, and not of the one with the best ELBO
    by_elbo = history(result, "val/elbo")
    assert record["metrics"]["val/elbo"] == pytest.approx(by_elbo[-1], rel=1e-5)
    assert max(by_elbo) > by_elbo[-1] + 0.01


def test_the_last_weights_of_any_variant(tmp_path):
    result = trained(tmp_path, "model=beta_vae", "model.beta=0.01", "model.weights=last", *LOW_BETA)
    assert (result.record["weights"], result.record["weights_choice"]) == ("checkpoints/last.ckpt", "last")
    assert not (result.folder / "checkpoints" / "best.ckpt").exists()
    objective = history(result, "val/objective")
    assert result.record["metrics"]["val/objective"] == pytest.approx(objective[-1], rel=1e-5)
    assert min(objective) < objective[-1]


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("data.val_size=0", "there are no validation images"),
        ("callbacks=none", "callbacks.best is left out"),
        ("trainer.limit_val_batches=0", "there are no validation images"),
    ],
)
def test_the_best_weights_that_nothing_tells_are_the_last_and_it_is_said(tmp_path, setting, reason):
    assert trained(tmp_path, "model=vae", setting).record["weights_choice"] == "last"
    assert f"measured at the last, as {reason}" in small(tmp_path, "model=vae", setting, "--explain").out


# mistakes


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.monitor.metric=val/rate", "There is no key 'model.monitor': model.weights=best takes"),
        ("model.monitor.mode=min", "There is no key 'model.monitor': model.weights=best takes"),
        ("+model.monitor.metric=val/rate", "There is no key 'model.monitor': model.weights=best takes"),
        ("model.weights=bst", "model.weights=bst: must be best or last (did you mean best?)."),
        ("model.weights=null", "model.weights=null: must be best or last."),
        ("callbacks.best.monitor=val/elbo", "callbacks.best.monitor=val/elbo: must be val/objective."),
        ("callbacks.best.mode=max", "callbacks.best.mode=max: must be min"),
        (
            "+model.objective.mmd={_target_: vaelab.models.MMD, weight: 2}",
            "no validation value of model.objective.mmd, a statistic of the batch",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path, setting, message):
    result = small(tmp_path, "model=vae", setting)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_variant_of_ones_own_that_holds_a_monitor_is_refused(tmp_path):
    file = tmp_path / "my" / "model" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# mine: a VAE.\ndefaults: [vae, _self_]\nmonitor: {metric: val/rate, mode: min}\n")
    result = small(tmp_path, "--config-dir", "my", "model=mine")
    assert (result.code, "There is no key 'model.monitor'" in result.err) == (2, True)


# runs of before


@pytest.fixture
def before(vae_run: Result, tmp_path):
    """A run as an older version recorded it."""
    folder = tmp_path / "before"
    shutil.copytree(vae_run.folder, folder)
    record = read_record(folder)
    del record["weights_choice"], record["weights_sha256"]
    monitor = {"metric": "val/elbo", "mode": "max"}
    record["config"]["model"]["monitor"] = monitor
    record["config"]["callbacks"]["best"] |= {"monitor": "val/elbo", "mode": "max"}
    del record["config"]["metrics"]["objective"]
    for name in [name for name in record["metrics"] if "objective" in name]:
        del record["metrics"][name]
    (folder / "results.json").write_text(json.dumps(record))
    for file in (folder / "checkpoints").glob("*.ckpt"):
        checkpoint = torch.load(file, weights_only=True)
        checkpoint["vaelab"]["config"]["model"]["monitor"] = monitor
        torch.save(checkpoint, file)
    return folder


def test_an_older_run_loads_and_is_evaluated_and_compared(before, vae_run: Result, tmp_path):
    x = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(vaelab.load(before).encode(x).loc, vaelab.load(vae_run.folder).encode(x).loc)
    old, new = (
        TrainedRun(folder, read_record(folder), tmp_path, quiet=True).codes("test", 20)
        for folder in (before, vae_run.folder)
    )
    torch.testing.assert_close(old.loc, new.loc)
    text = compare([before, vae_run.folder], tmp_path / "report", folded=False)
    assert text.count(f"{vae_run.record['metrics']['test/elbo']:.2f}") >= 2  # a row for each


def test_an_older_run_is_not_continued_under_another_rule(before, tmp_path):
    command = [setting for setting in read_record(before)["overrides"] if "paths.outputs" not in setting]
    result = run(tmp_path, *command, f"hydra.run.dir={before}")
    assert result.code == 2
    assert "by an older vaelab, which chose the weights by val/elbo" in result.err

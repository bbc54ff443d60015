"""``vaelab-evaluate``: it measures, adds to the record and to W&B, and skips what has been measured."""

import json
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli_runner import Result, process_put_back, trained
from support.chance import SIGMAS
from support.wandb_files import read_runs
from support.wandb_home import wandb_home
from vaelab.cli import evaluate as cli
from vaelab.evaluation.trained_run import NotApplicable, TrainedRun


class Count:
    """An evaluation that counts its calls."""

    calls = 0

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def __call__(self, run: TrainedRun) -> dict:
        Count.calls += 1
        mean = run.codes("test", 50).loc.mean().item()
        return {
            "metrics": {"mean_code": self.scale * mean, "by_dimension": [1.0, 2.0]},
            "protocol": {"images": 50},
        }


class Never:
    def __call__(self, run: TrainedRun) -> dict:
        raise NotApplicable("there are no labels")


class Broken:
    def __call__(self, run: TrainedRun) -> dict:
        raise RuntimeError("out of luck")


OWN = """# mine: for these tests
count: {_target_: evaluation.test_evaluate.Count, scale: 2}
never: {_target_: evaluation.test_evaluate.Never}
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    """The option --config-dir of a folder with eval/mine.yaml."""
    (tmp_path / "own" / "eval").mkdir(parents=True)
    (tmp_path / "own" / "eval" / "mine.yaml").write_text(OWN.replace("evaluation.test_evaluate", __name__))
    return f"--config-dir={tmp_path / 'own'}"


@pytest.fixture
def run_folder(vae_run: Result, tmp_path: Path) -> Path:
    """A copy of a run, to change."""
    folder = tmp_path / "outputs" / "runs" / "one"
    shutil.copytree(vae_run.folder, folder)
    return folder


def evaluate(*arguments: str | Path) -> tuple[int, str, str]:
    """(exit code, what it printed, what it said on standard error)."""
    out, err = StringIO(), StringIO()
    with process_put_back(), redirect_stdout(out), redirect_stderr(err):
        sys.argv[:] = ["vaelab-evaluate", *map(str, arguments)]
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, out.getvalue(), err.getvalue()


def record_of(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def test_an_evaluation_is_kept_and_skipped_the_next_time(run_folder, own):
    before, calls = record_of(run_folder), Count.calls
    code, out, err = evaluate(run_folder, own, "eval=mine")
    assert (code, err) == (0, "")
    record = record_of(run_folder)
    entry = record["evaluation"]["count"]
    assert entry["protocol"] == {"images": 50}
    assert entry["settings"]["scale"] == 2
    assert entry["weights"] == before["weights"]
    assert record["metrics"]["eval/mean_code"] == entry["metrics"]["mean_code"] != 0
    assert record["metrics"]["eval/by_dimension"] == [1, 2]
    assert {k: v for k, v in record["metrics"].items() if not k.startswith("eval/")} == before["metrics"]
    assert record["evaluation"]["never"]["skipped"] == "there are no labels"
    assert "never: not for this run: there are no labels" in out

    code, out, _ = evaluate(run_folder, own, "eval=mine")
    assert out.count("measured before") == 2
    shown = next(line for line in out.splitlines() if line.startswith("mean_code"))
    assert float(shown.split()[1]) == pytest.approx(record["metrics"]["eval/mean_code"], rel=1e-3)
    assert f"Numbers: {run_folder}/results.json" in out
    assert Count.calls == calls + 1

    code, _, _ = evaluate(run_folder, own, "eval=mine", "eval.count.scale=4")  # other settings: measured anew
    assert (code, Count.calls) == (0, calls + 2)
    doubled = record_of(run_folder)["metrics"]["eval/mean_code"]
    assert doubled == pytest.approx(2 * record["metrics"]["eval/mean_code"])
    evaluate(run_folder, own, "eval=mine", "eval.count.scale=4", "force=true")
    assert Count.calls == calls + 3


@pytest.fixture
def npz_run(tmp_path: Path) -> Path:
    """The folder of a run whose data are named by a relative path, with W&B files."""
    project = tmp_path / "project"
    project.mkdir()
    np.savez(project / "mine.npz", x=np.random.default_rng(0).random((80, 6, 6), dtype=np.float32))
    settings = ("data=npz", "data.path=mine.npz", "data.val_size=10", "data.train_size=32")
    more = ("logger=wandb", "callbacks=no_pictures", "name=one")
    with wandb_home(tmp_path / "home"):
        return trained(project / "outputs", *settings, *more, cwd=project).folder


def test_a_run_is_evaluated_from_anywhere_and_writes_to_its_outputs(npz_run, own, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    copy = shutil.copytree(npz_run, tmp_path / "copies" / "one")
    (own_outputs := npz_run.parents[1]).rename(tmp_path / "project" / "moved")
    for folder, outputs in ((tmp_path / "project" / "moved" / "runs" / "one",) * 2, (copy, copy)):
        with wandb_home(tmp_path / "home"):
            code, out, err = evaluate(folder, own, "eval=mine", "eval.never=null")
        assert (code, err) == (0, ""), out
        assert outputs.exists()
        assert "count" in record_of(folder)["evaluation"]
    assert (copy / "wandb").is_dir()
    assert not own_outputs.exists()
    assert list(Path().iterdir()) == []


def test_the_place_of_the_data_can_be_given(npz_run, own, tmp_path):
    file = npz_run.parents[2] / "mine.npz"
    file.rename(tmp_path / "renamed.npz")
    settings = (npz_run, own, "eval=mine", "log=false")
    code, out, _ = evaluate(*settings)
    assert code == 1
    assert "mine.npz" in out
    assert evaluate(*settings, f"data.path={tmp_path / 'renamed.npz'}")[0] == 0
    code, out, _ = evaluate(*settings, "force=true", f"data.root={tmp_path}")
    assert (code, "have no root" in out) == (1, True)


@pytest.mark.slow
def test_a_run_on_a_folder_of_images_is_evaluated_where_they_lie_now_and_on_no_others(own, tmp_path):
    random = np.random.default_rng(0)
    for number in range(60):
        file = tmp_path / "images" / ("cat", "dog")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
    settings = ("data=folder", f"data.path={tmp_path}/images", f"paths.data={tmp_path}/data", "data.size=6")
    more = ("data.val_size=null", "data.train_size=null", "likelihood=gaussian", "callbacks=no_pictures")
    folder = trained(tmp_path / "outputs", *settings, *more).folder
    code, out, err = evaluate(folder, own, "eval=mine")
    assert (code, err) == (0, ""), out
    found = record_of(folder)["evaluation"]["count"]["metrics"]["mean_code"]

    moved = (tmp_path / "images").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "data")  # decoded anew
    code, out, _ = evaluate(folder, own, "eval=mine", "force=true", f"data.path={moved}")
    assert code == 0, out
    assert record_of(folder)["evaluation"]["count"]["metrics"]["mean_code"] == pytest.approx(found, rel=1e-6)

    Image.new("RGB", (8, 8)).save(next((moved / "cat").iterdir()))
    code, out, _ = evaluate(folder, own, "eval=mine", "force=true", f"data.path={moved}")
    assert code == 1
    assert "count: failed" not in out
    assert "other images" in out


def test_an_evaluation_that_fails_does_not_stop_the_others(run_folder, own):
    code, out, _ = evaluate(
        run_folder, own, "eval=mine", f"+eval.broken={{_target_: {__name__}.Broken}}", "eval.never=null"
    )
    assert code == 1
    assert "broken: failed (RuntimeError: out of luck)" in out
    assert set(record_of(run_folder)["evaluation"]) == {"count"}


def test_the_latent_space_of_a_run(run_folder):
    """With as many images as the test split has, what every run reports, but for other noise."""
    others = ("sample_quality", "probes", "importance_nll", "disentanglement_scores")
    left_out = [f"eval.{name}=null" for name in others]
    code, out, _ = evaluate(run_folder, "eval=default", "eval.latent_space.images=360", *left_out)
    assert code == 0, out
    record = record_of(run_folder)
    metrics = record["metrics"]
    for part in ("mutual_information", "total_correlation", "dimension_wise_kl", "aggregate_kl"):
        for end in ("low", "high"):
            assert metrics[f"eval/{part}_{end}"] == pytest.approx(metrics[f"test/{part}_{end}"], abs=0.15)
    protocol = record["evaluation"]["latent_space"]["protocol"]
    assert protocol["images"] == 360
    assert protocol["posteriors"] == metrics["test/aggregate_posteriors"] == record["data"]["train"]
    # two epochs: the decoder hardly listens, so codes do not survive the round trip
    assert metrics["eval/cycle_error_prior"] > 0.1


def test_the_codes_are_the_posteriors_of_the_images(run_folder):
    run = TrainedRun(run_folder, record_of(run_folder), run_folder)
    codes = run.codes("test", 100)
    q = run.model.encode(run.images("test", 100))
    torch.testing.assert_close(codes.loc, q.loc)
    torch.testing.assert_close(codes.scale, q.scale)
    noise = (codes.z - codes.loc) / codes.scale
    assert abs(noise.mean()) <= SIGMAS / noise.numel() ** 0.5
    assert noise.std().item() == pytest.approx(1, abs=0.15)
    torch.testing.assert_close(run.codes("test", 300).z[:100], codes.z)  # the image's own noise
    assert torch.equal(codes.y, run.labels("test", 100))
    assert codes.factors is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no such folder"),
        (["eval=ful"], "Did you mean 'full'?"),
        (["eval.latent_space.imges=3"], "Did you mean 'eval.latent_space.images'?"),
        (["froce=true"], "Did you mean 'force'?"),
        (["force=3"], "force=3: must be true or false."),
        (["device=gpu0"], "device=gpu0 can't be used here"),
        (["--config-dir=/nowhere"], "there is no such folder"),
        (["+eval.mine.images=3"], "eval.mine names no class"),
        (
            ["+eval.mine={_target_: vaelab.evaluation.LatentSpace, imges: 3}"],
            "Did you mean 'images'?",
        ),
    ],
)
def test_mistakes_take_one_line(run_folder, arguments, words):
    before = (run_folder / "results.json").read_bytes()
    named = [] if arguments == ["nowhere"] else [run_folder]
    code, out, err = evaluate(*named, *arguments)
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) <= 2
    assert out == ""
    assert (run_folder / "results.json").read_bytes() == before


def test_an_unfinished_run_is_not_evaluated(run_folder, own):
    record = record_of(run_folder) | {"status": "interrupted"}
    (run_folder / "results.json").write_text(json.dumps(record))
    code, out, _ = evaluate(run_folder, own, "eval=mine")
    assert code == 1
    assert "its status is interrupted" in out


def test_a_sweep_is_evaluated_run_by_run_and_reported(tmp_path, own):
    """The same W&B run gets the numbers, and the sweep's report a table of them."""
    with wandb_home(tmp_path / "home"):
        sweep = trained(
            tmp_path / "outputs", *("-m", "model=vae", "seed=0,1", "model.latent_dim=2", "logger=wandb")
        )
        code, out, err = evaluate(sweep.sweep.name, own, "eval=mine", f"paths.outputs={sweep.outputs}")
    assert code == 0, out + err
    assert f"Report: {sweep.sweep / 'report' / 'report.html'}" in out
    assert "eval/mean_code" in (sweep.sweep / "report" / "table.csv").read_text().splitlines()[0]
    assert "## Evaluation" in (sweep.sweep / "report" / "report.md").read_text()
    assert "mean_code" in (sweep.sweep / "report" / "report.html").read_text()
    for record in sweep.records.values():  # two seeds: they rank each other
        assert -1 <= record["metrics"]["eval/udr"] <= 1
        assert record["evaluation"]["udr"]["settings"]["seeds"] == [0, 1]
    for record in sweep.records.values():
        parts = [run for run in read_runs(sweep.outputs / "wandb") if run.id == record["wandb"]["id"]]
        # the training, the evaluation and the seeds' ranking, which wandb sync puts together
        assert len(parts) == 3
        assert "eval/mean_code" not in parts[0].summary
        assert parts[2].summary["eval/udr"] == pytest.approx(record["metrics"]["eval/udr"], rel=1e-6)
        late = parts[1]
        assert late.summary["eval/mean_code"] == record["metrics"]["eval/mean_code"]
        assert late.name == record["name"]
        assert late.exit_code == 0

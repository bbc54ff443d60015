"""What a run logs to Weights & Biases, read back from its offline file."""

import pytest
from PIL import Image

from cli_runner import Result, small, trained
from support.wandb_files import WandbRun, media_paths, read_runs
from support.wandb_home import wandb_home

HISTORY = {"train/loss", "train/distortion", "train/kl", "val/elbo", "val/rate", "val/distortion", "val/mse"}
PICTURES = {
    *(
        f"samples/{name}"
        for name in (
            *("prior", "mixture", "reconstructions", "traversals", "arithmetic", "explorer"),
            *("interpolations", "interpolations_spherical"),
        )
    ),
    *(f"latents/{name}" for name in ("kl_per_dim", "kl_over_training", "map")),
}


@pytest.fixture(scope="module")
def runs(beta_sweep: Result) -> list[WandbRun]:
    """The runs of the three jobs; the sweep's own run is tested in tests/reports/dashboard."""
    return [run for run in read_runs(beta_sweep.outputs / "wandb") if run.job_type == "train"]


def numbers(record: dict, split: str) -> dict[str, float]:
    """The record's numbers of a split under W&B's names; what is undefined is not there."""
    found = {name: value for name, value in record["metrics"].items() if name.startswith(f"{split}/")}
    metrics = {name: value for name, value in found.items() if value is not None}
    kl = metrics.pop(f"{split}/kl_per_dim")
    return metrics | {f"{split}/kl/dim_{d:02d}": value for d, value in enumerate(kl)}


def test_three_jobs_are_three_runs_in_one_folder(beta_sweep, runs):
    records = list(beta_sweep.records.values())
    assert [run.id for run in runs] == [record["wandb"]["id"] for record in records]
    assert [run.name for run in runs] == [record["name"] for record in records]
    assert len({run.name for run in runs}) == 3
    assert {run.group for run in runs} == {beta_sweep.sweep.name}
    assert {run.project for run in runs} == {"vaelab"}
    assert [run.exit_code for run in runs] == [0, 0, 0]
    assert all(sorted(run.tags) == ["beta_vae", "digits", "extra"] for run in runs)
    assert {record["wandb"]["folder"] for record in records} == {str(beta_sweep.outputs / "wandb")}


def test_the_config_is_nested_and_what_one_plots_by_is_flat(beta_sweep, runs):
    for run, (folder, record) in zip(runs, beta_sweep.records.items(), strict=True):
        flat = {
            "variant": "beta_vae",
            "dataset": "digits",
            "latent_dim": 4,
            "seed": 0,
            "beta": record["beta"],  # null if model.beta is not the KL's weight
        }
        assert {key: run.config[key] for key in flat} == flat
        nested = {key: run.config[key] for key in record["config"] if key != "seed"}
        assert nested == {key: value for key, value in record["config"].items() if key != "seed"}
        assert run.config["run_folder"] == str(beta_sweep.sweep / folder)
    assert [run.config["beta"] for run in runs] == [0.5, 1, 2]


def test_the_history_has_every_curve(runs):
    for run in runs:
        names = {name for row in run.history for name in row}
        assert names >= HISTORY | {f"val/kl/dim_{d:02d}" for d in range(4)}
        assert len([row for row in run.history if "val/elbo" in row]) == 2  # once an epoch
        assert all("trainer/global_step" in row for row in run.history if "train/loss" in row)


def test_the_summary_is_the_record(beta_sweep, runs):
    for run, record in zip(runs, beta_sweep.records.values(), strict=True):
        for split in ("val", "test"):
            for name, value in numbers(record, split).items():
                assert run.summary[name] == pytest.approx(value, rel=1e-6), name
        assert run.summary["status"] == "finished"
        assert run.summary["weights"] == "checkpoints/best.ckpt"
        assert run.summary["images_per_second"] == record["timing"]["images_per_second"]


def test_pictures_are_on_disk(runs):
    for run in runs:
        files = media_paths(run)
        assert {
            str(file.relative_to(run.path / "files/media/images").with_suffix("")).rsplit("_", 2)[0]
            for file in files
        } == PICTURES
        for file in files:
            with Image.open(file) as picture:
                picture.verify()


def test_the_moving_traversals_are_a_video(beta_sweep, runs):
    for run, folder in zip(runs, beta_sweep.records, strict=True):
        [row] = [row for row in run.history if "samples/traversals_animated" in row]
        [video] = row["samples/traversals_animated"]["videos"]
        assert video["_type"] == "video-file"
        logged = run.path / "files" / video["path"]
        assert logged.read_bytes() == (beta_sweep.sweep / folder / "samples/traversals.gif").read_bytes()


def test_kl_is_a_histogram_in_every_epoch(runs):
    for run in runs:
        histograms = [row["val/kl_histogram"] for row in run.history if "val/kl_histogram" in row]
        assert len(histograms) == 2
        kl = [row["val/kl/dim_00"] for row in run.history if "val/kl/dim_00" in row]
        assert [histogram["values"][0] for histogram in histograms] == pytest.approx(kl, rel=1e-6)


def test_a_run_that_fails_is_failed_in_wandb_too(tmp_path, wandb_offline):
    result = small(tmp_path, "-m", "optimizer.lr=1e-3,1e6", "logger=wandb", "callbacks=none")
    import wandb

    wandb.teardown()
    assert result.code == 1
    jobs = [run for run in read_runs(tmp_path / "wandb") if run.job_type == "train"]
    assert [run.exit_code for run in jobs] == [0, 1]


def test_an_autoencoder_has_no_rate_in_wandb(tmp_path):
    with wandb_home(tmp_path / "home"):
        trained(tmp_path, "model=ae", "logger=wandb", "callbacks=none")
    [run] = read_runs(tmp_path / "wandb")
    names = {name for row in [*run.history, run.summary] for name in row}
    assert {"val/distortion", "test/distortion"} <= names
    assert not [name for name in names if name.endswith(("/rate", "/elbo")) or "/kl" in name]
    assert run.config["beta"] is None


def test_notes_and_tags_are_those_of_the_run(tmp_path):
    with wandb_home(tmp_path / "home"):
        words = ("logger.notes='what I try: a, b'", "logger.tags=[mine]")
        trained(tmp_path, "model=beta_vae", "logger=wandb", "callbacks=none", *words)
    [run] = read_runs(tmp_path / "wandb")
    assert run.notes == "what I try: a, b"
    assert sorted(run.tags) == ["beta_vae", "digits", "mine"]
    columns = {"variant": run.config["variant"], "beta": run.config["beta"]}
    assert columns == {"variant": "beta_vae", "beta": 4}
    assert isinstance(run.summary["verdict"], str)


def test_disabled_it_runs_and_writes_nothing(tmp_path):
    with wandb_home(tmp_path / "home", WANDB_MODE="disabled"):
        result = trained(tmp_path / "outputs", "logger=wandb", "callbacks=none")
    assert result.record["wandb"]["mode"] == "disabled"
    assert not list(tmp_path.rglob("*.wandb"))
    assert "wandb sync" not in result.out

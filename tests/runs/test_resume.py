"""What happens when the same command is given again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from cli_runner import SMALL, Result, read_record, run, without_report
from vaelab.errors import UserError
from vaelab.runs.lock import claim
from vaelab.runs.naming import planned_jobs, sweep_name
from vaelab.runs.record import write_record
from vaelab.runs.resume import (
    LAST,
    check_sweep,
    earlier_record,
    next_step,
    remember_sweep,
)

QUICK = ("callbacks.samples=null", "callbacks.kl_pictures=null", "callbacks.latent_map=null")
SWEEP = ("-m", "model.beta=1,2", *SMALL, *QUICK)
MINE = (*SWEEP, "sweep.name=mine")
ONE = (*SMALL, *QUICK, "hydra.run.dir=one")


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory) -> Callable[..., Path]:
    """Where the outputs of a command lie that was called once for all tests; to copy, not to change."""
    done: dict[tuple[str, ...], Path] = {}

    def outputs(*command: str) -> Path:
        if command not in done:
            with without_report():
                result = run(tmp_path_factory.mktemp("once"), *command)
            assert result.code == 0, result.err + result.out
            done[command] = result.outputs
        return done[command]

    return outputs


@pytest.fixture
def once(tmp_path, trained_once) -> Callable[..., Result]:
    """A function that calls a command, or copies what it has left before: times of files included."""

    def called(*command: str) -> Result:
        shutil.copytree(trained_once(*command), tmp_path, dirs_exist_ok=True)
        return Result(0, "", "", tmp_path)

    return called


@pytest.fixture
def one(once) -> Path:
    """The folder of a run that has finished."""
    return once(*ONE).outputs / "one"


def finished(config=None, **more):
    return {"schema": 1, "status": "finished", "config": config or {"model": {"beta": 1}}, **more}


# one run


@pytest.mark.parametrize(
    ("status", "checkpoint", "step"),
    [
        ("finished", True, "skip"),
        ("running", True, "resume"),  # killed
        ("interrupted", True, "resume"),
        ("interrupted", False, "start"),
        ("failed", True, "start"),
    ],
)
def test_what_becomes_of_a_run(tmp_path, status, checkpoint, step):
    if checkpoint:
        (tmp_path / LAST).parent.mkdir()
        torch.save({}, tmp_path / LAST)
    earlier = {**finished(), "status": status}
    assert next_step(tmp_path, finished(), earlier) == step


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_damaged_checkpoint_is_kept_aside_and_the_run_starts_again(tmp_path, caplog, content):
    (tmp_path / LAST).parent.mkdir()
    (tmp_path / LAST).write_bytes(content)
    assert next_step(tmp_path, finished(), {**finished(), "status": "interrupted"}) == "start"
    assert (tmp_path / "last.ckpt.damaged").read_bytes() == content
    assert "last.ckpt is damaged" in caplog.text


def test_a_new_run_starts(tmp_path):
    assert next_step(tmp_path, finished(), earlier_record(tmp_path)) == "start"


def test_a_folder_with_another_run_is_refused_unless_that_failed(tmp_path):
    other = finished({"model": {"beta": 2}})
    with pytest.raises(UserError, match=r"model\.beta: 1 before, 2 now"):
        next_step(tmp_path, other, finished())
    assert next_step(tmp_path, other, {**finished(), "status": "failed"}) == "start"


def test_a_data_folder_that_has_moved_is_the_same_run_and_another_file_is_not(tmp_path):
    def stored_in(root, path=None):
        data = {"root": root, "path": path, "source": {"root": root, "path": path}}
        return finished({"paths": {"data": root}, "data": data})

    assert next_step(tmp_path, stored_in("/new"), stored_in("/old")) == "skip"
    with pytest.raises(UserError, match=r"data\.path: /mine\.npz before"):
        next_step(tmp_path, stored_in("/new"), stored_in("/old", "/mine.npz"))


@pytest.mark.parametrize("old", ["vaelab.objectives.kl.KL", "vaelab.objectives.KL", "vaelab.KL"])
def test_a_run_of_an_older_vaelab_is_refused_in_one_line(tmp_path, old):
    def with_term(target):
        return finished({"model": {"objective": {"kl": {"_target_": target}}}})

    with pytest.raises(UserError, match=f"an older vaelab, which had other names: {old}") as caught:
        next_step(tmp_path, with_term("vaelab.models.KL"), with_term(old))
    assert "\n" not in str(caught.value)
    assert next_step(tmp_path, with_term("my.terms.deep.KL"), with_term("my.terms.deep.KL")) == "skip"


def test_a_record_that_cannot_be_read_is_kept_aside(tmp_path):
    (tmp_path / "results.json").write_text('{"schema": 1, "stat')
    assert earlier_record(tmp_path) is None
    assert (tmp_path / "results.json.unreadable").read_text() == '{"schema": 1, "stat'


# a sweep


def multirun(task, **config):
    return OmegaConf.create({"hydra": {"overrides": {"task": task}, "sweeper": {"params": None}}, **config})


def sweep(folder, before):
    """A sweep's folder with one finished job."""
    write_record(folder / "00-beta1", finished())
    remember_sweep(folder, before)


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("model.beta=1,2", {"seed": 0, "model": {"beta": 4.0}}),
        ("model.beta=1,2,4,8", {"seed": 0, "model": {"beta": 4.0}}),  # it has grown
        ("model.beta=1,2", {"seed": 0, "model": {"beta": 1.0}}),  # another default of what varies
        ("model.beta=1,2", {"seed": 0, "model": {"beta": 4.0}, "threads": 2}),
    ],
)
def test_a_sweep_that_may_go_on(tmp_path, task, more):
    sweep(tmp_path, multirun(["model.beta=1,2"], model={"beta": 4.0}, seed=0))
    check_sweep(tmp_path, multirun([task], **more))


@pytest.mark.parametrize(
    ("task", "seed", "message"),
    [
        (["model.beta=1,2", "lr=1,2"], 1, r"seed: 0 before, 1 now.*\n.*sweep\.name"),
        (["model.beta=1,2"], 0, r"varies model\.beta, lr; this one varies model\.beta"),
        (["lr=1,2", "model.beta=1,2"], 0, "same order"),  # folders are named in this order
    ],
)
def test_a_sweep_of_something_else_is_refused(tmp_path, task, seed, message):
    sweep(tmp_path, multirun(["model.beta=1,2", "lr=1,2"], seed=0))
    with pytest.raises(UserError, match=message):
        check_sweep(tmp_path, multirun(task, seed=seed))


def test_a_sweep_with_nothing_to_lose_may_change(tmp_path):
    sweep(tmp_path, multirun(["model.beta=1,2"], seed=0))
    write_record(tmp_path / "00-beta1", {**finished(), "status": "failed"})
    check_sweep(tmp_path, multirun(["model.beta=1,2"], seed=1))


# names


CHOICES = {"model": "vae", "data": "digits"}


def name(*task, asked=None, resume=True, outputs="nowhere", params=None):
    sweeper = OmegaConf.create({"params": params})
    return sweep_name(str(outputs), asked, resume, list(task), sweeper, CHOICES)


def test_the_same_command_has_the_same_name():
    one = name("model.beta=1,2", "seed=0,1", "trainer.max_epochs=3")
    assert one.startswith("vae-digits-beta-seed-")
    assert one == name("trainer.max_epochs=3", "model.beta=1,2", "seed=0,1")
    beside = ("paths.outputs=x", "paths.data=y", "logger=csv", "threads=2", "callbacks.samples=null")
    assert one == name("model.beta=1,2", "seed=0,1", "trainer.max_epochs=3", *beside)


def test_a_command_with_more_values_has_the_same_name():
    assert name("model.beta=1,2,4", "seed=range(0,5)") == name("model.beta=1,2", "seed=0,1")


@pytest.mark.parametrize(
    "other", ["trainer.max_epochs=4", "trainer.max_epochs=3,4", "+model.extra=1", "data=sprites", "seed=0,1"]
)
def test_another_fixed_setting_or_another_swept_key_has_another_name(other):
    assert name("model.beta=1,2", other) != name("model.beta=1,2")
    assert name("model.beta=1,2", "trainer.max_epochs=5", other) != name(
        "model.beta=1,2", "trainer.max_epochs=5"
    )


def test_keys_in_another_order_have_another_name_since_folders_are_named_by_it():
    assert name("model.beta=1,2", "seed=0,1") != name("seed=0,1", "model.beta=1,2")


def test_a_file_counts_as_the_command_line_does():
    assert name(params={"model.beta": "1,2"}) == name("model.beta=1,2")


def test_groups_that_vary_do_not_stand_in_the_name():
    assert name("model=ae,vae").startswith("digits-model-")


def test_a_fresh_folder_is_one_that_is_not_there(tmp_path):
    assert name(asked="mine", resume=False, outputs=tmp_path) == "mine"
    (tmp_path / "sweeps" / "mine").mkdir(parents=True)
    (tmp_path / "sweeps" / "mine-2").mkdir()
    assert name(asked="mine", resume=False, outputs=tmp_path) == "mine-3"
    assert name(asked="mine", outputs=tmp_path) == "mine"


@pytest.mark.slow
@pytest.mark.usefixtures("plain_table")
def test_planned_jobs_are_those_that_hydra_makes(tmp_path):
    swept = ("network.hidden=[8],[8,16]", "model=ae,vae", "+note='a b',c", "seed=range(0,4,3)")
    result = run(
        tmp_path, "-m", *swept, "model.latent_dim=0", *SMALL[:3], "logger=none"
    )  # refused: none trains
    planned = planned_jobs(result.sweep)
    assert len(planned) == 16
    assert list(result.records) == [f"{number:02d}-{name}" for number, name in enumerate(planned)]


def test_planned_jobs_of_a_sweep_file(tmp_path):
    config = multirun(["seed=0,1", "trainer.max_epochs=2"])
    config.hydra.sweeper.params = {"model.beta": "0.5,1"}
    OmegaConf.save(config, tmp_path / "multirun.yaml")
    names = ["beta0.5-seed0", "beta0.5-seed1", "beta1-seed0", "beta1-seed1"]
    assert planned_jobs(tmp_path) == names


# through the command line


def stamps(sweep):
    return {file.parent.name: file.stat().st_mtime_ns for file in sweep.glob("*/results.json")}


def test_a_finished_sweep_is_not_trained_again(tmp_path, once):
    first = once(*SWEEP)
    before = stamps(first.sweep)
    again = run(tmp_path, *SWEEP)
    assert again.code == 0
    assert stamps(again.sweep) == before
    assert again.out.count("already finished, skipped") == 2
    assert "report.html" in again.out  # it ends with the comparison all the same


@pytest.mark.usefixtures("plain_table")
def test_a_fresh_folder_on_demand(tmp_path, once):
    once(*MINE)
    assert run(tmp_path, *MINE, "sweep.resume=false").code == 0
    folders = sorted(folder.name for folder in (tmp_path / "sweeps").iterdir())
    assert folders == ["mine", "mine-2"]
    for folder in folders:  # all jobs of a sweep lie in one folder
        assert len(stamps(tmp_path / "sweeps" / folder)) == 2


@pytest.mark.usefixtures("plain_table")
def test_a_changed_config_under_the_same_name_is_an_error(tmp_path, once):
    first = once(*MINE)
    before = stamps(first.sweep)
    again = run(tmp_path, *MINE, "optimizer.lr=0.5")
    assert again.code == 2
    assert "optimizer.lr" in again.err
    assert "0.5 now" in again.err
    assert "Traceback" not in again.err + again.out
    assert stamps(first.sweep) == before


@pytest.mark.usefixtures("plain_table")
def test_a_sweep_may_grow(tmp_path, once):
    first = once(*SWEEP)
    before = stamps(first.sweep)
    assert before.keys() == {"00-beta1", "01-beta2"}
    grown = run(tmp_path, "-m", "model.beta=1,4,2", *SWEEP[2:])
    assert grown.code == 0
    now = stamps(grown.sweep)
    assert now.keys() == {"00-beta1", "01-beta2", "01-beta4"}
    assert all(now[folder] == before[folder] for folder in before)


@pytest.mark.usefixtures("plain_table")
def test_a_failed_job_is_run_again(tmp_path, once):
    first = once(*MINE)
    folder = first.sweep / "01-beta2"
    write_record(folder, {**read_record(folder), "status": "failed", "error": "the cable was pulled"})
    before = stamps(first.sweep)
    again = run(tmp_path, *MINE)
    assert again.code == 0
    record = read_record(folder)
    assert (record["status"], record["error"]) == ("finished", None)
    assert stamps(again.sweep)["00-beta1"] == before["00-beta1"]
    assert len(record["sessions"]) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("plain_table")
def test_a_changed_file_of_a_swept_variant_is_refused_by_its_job(tmp_path):
    variant = tmp_path / "conf" / "model" / "mine.yaml"
    variant.parent.mkdir(parents=True)
    variant.write_text("defaults: [vae, _self_]\nlatent_dim: 3\n")
    command = (
        "--config-dir",
        str(variant.parents[1]),
        "-m",
        "model=vae,mine",
        *SMALL,
        *QUICK,
        "sweep.name=x",
    )
    first = run(tmp_path, *command)
    assert first.code == 0, first.err + first.out
    before = stamps(first.sweep)
    variant.write_text("defaults: [vae, _self_]\nlatent_dim: 5\n")
    again = run(tmp_path, *command)
    assert again.code == 2
    assert "model.latent_dim: 3 before, 5 now" in again.err
    assert stamps(first.sweep) == before


def test_a_single_run_in_its_folder_is_not_trained_again(tmp_path, one):
    before = (one / "results.json").read_bytes()
    again = run(tmp_path, *ONE)
    assert again.code == 0
    assert "already finished" in again.out
    assert "ELBO" in again.out
    assert run(tmp_path, *ONE, "model.beta=-1").code == 2
    assert (one / "results.json").read_bytes() == before


@pytest.mark.usefixtures("plain_table")
def test_a_run_that_another_process_trains_is_left_to_it(tmp_path, once):
    first = once(*MINE)
    folder = first.sweep / "00-beta1"
    write_record(folder, {**read_record(folder), "status": "running"})
    before = (folder / "results.json").read_bytes()
    with claim(folder):
        again = run(tmp_path, *MINE)
    assert again.code == 1  # the sweep is not complete
    assert "another process is training it" in again.out
    assert (folder / "results.json").read_bytes() == before


def test_the_record_tells_of_its_sessions(one):
    [session] = read_record(one)["sessions"]
    assert session["status"] == "finished"
    assert session["from"] == "start"
    assert session["ended"] >= session["started"]
    assert not (one / "heartbeat.json").exists()


def test_a_run_that_goes_on_has_taken_the_time_of_both(tmp_path):
    folder = tmp_path / "one"  # trained here: a checkpoint that goes on names its place
    assert run(tmp_path, *ONE).code == 0
    write_record(folder, {**read_record(folder), "status": "running"})
    beat = {"total_seconds": 1000.0, "fit_seconds": 900.0, "train_seconds": 800.0, "images": 64}
    (folder / "heartbeat.json").write_text(json.dumps(beat))
    assert run(tmp_path, *ONE).code == 0
    record = read_record(folder)
    assert record["timing"]["total_seconds"] > 1000
    assert 900 <= record["timing"]["fit_seconds"] < 990
    assert record["timing"]["train_seconds"] == 800  # nothing was left to train
    assert record["timing"]["images_per_second"] == 0.1

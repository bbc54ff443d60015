"""The table of a sweep's jobs: every state, whatever the folder looks like, and the command."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vaelab.cli.status import main
from vaelab.cli.status import report as report_and_counts
from vaelab.runs.lock import beat, claim
from vaelab.runs.record import SCHEMA, write_record
from vaelab.runs.status import Job, Progress, duration, read_progress, remaining, sweep_jobs, true_status
from vaelab.runs.tables import as_text

PLAN = """
hydra:
  sweeper: {params: {seed: "0,1"}}
  overrides: {task: [model=vae, "model.beta=1,2,4"]}
"""


def record(status, **more):
    return {"schema": SCHEMA, "status": status, "error": None, "timing": {"total_seconds": 12.3}, **more}


@pytest.fixture
def sweep(tmp_path):
    """Six jobs by plan; the folders are each test's to make."""
    folder = tmp_path / "outputs" / "sweeps" / "mine"
    folder.mkdir(parents=True)
    (folder / "multirun.yaml").write_text(PLAN)
    return folder


def report(folder):
    content, counts = report_and_counts(folder)
    return as_text(content), counts


def states(folder):
    return {job.name: job.state for job in sweep_jobs(folder)}


def test_all_that_is_planned_waits_in_the_order_of_the_jobs(sweep):
    names = [f"seed{seed}-beta{beta}" for seed in (0, 1) for beta in (1, 2, 4)]
    assert states(sweep) == {f"{i:02d}-{name}": "waiting" for i, name in enumerate(names)}


def test_every_state_is_shown(sweep):
    write_record(sweep / "00-seed0-beta1", record("finished"))
    write_record(sweep / "01-seed0-beta2", record("running"))
    write_record(sweep / "02-seed0-beta4", record("running"))
    write_record(sweep / "03-seed1-beta1", record("failed", error="ValueError: no"))
    write_record(sweep / "04-seed1-beta2", record("interrupted"))
    beat(sweep / "01-seed0-beta2", epoch=3, max_epochs=12, fit_seconds=6.0, phase="training")
    beat(sweep / "02-seed0-beta4", epoch=7, max_epochs=40, fit_seconds=7.0)
    beat(sweep / "04-seed1-beta2", epoch=0, max_epochs=40, fit_seconds=0.4)
    with claim(sweep / "01-seed0-beta2"):
        text, counts = report(sweep)
    lines, again = text.splitlines(), "the same command resumes it"
    cells = (line.split(maxsplit=1) for line in lines if re.match(r"\d\d-", line))
    assert {name: " ".join(rest.split()) for name, rest in cells} == {
        "00-seed0-beta1": "finished in 12 s",
        "01-seed0-beta2": "running 3/12 25% training, about 18 s left, last beat 0 s ago",
        "02-seed0-beta4": f"interrupted 7/40 18% {again}",
        "03-seed1-beta1": f"failed ValueError: no. Log: {sweep}/03-seed1-beta1/run.log",
        "04-seed1-beta2": f"interrupted 0/40 0% stopped in its first epoch; {again}",
        "05-seed1-beta4": "waiting",
    }
    assert counts == {"finished": 1, "running": 1, "interrupted": 2, "failed": 1, "waiting": 1}
    assert lines[-1] == "6 jobs: 1 finished, 1 running, 2 interrupted, 1 failed, 1 waiting. About 55 s left."


def test_when_nothing_runs_and_something_is_left_it_is_said(sweep):
    write_record(sweep / "00-seed0-beta1", record("running"))
    assert report(sweep)[0].endswith(
        "6 jobs: 1 interrupted, 5 waiting. Nothing is running now; the same command continues the sweep."
    )


def test_a_run_is_running_while_its_lock_is_held(sweep):
    folder = sweep / "00-seed0-beta1"
    write_record(folder, record("running"))
    with claim(folder):
        assert true_status(folder, record("running")) == states(sweep)[folder.name] == "running"
    assert true_status(folder, record("running")) == states(sweep)[folder.name] == "interrupted"
    assert true_status(folder, record("failed")) == "failed"


def test_a_job_that_ends_between_two_looks_is_finished_and_not_interrupted(sweep, monkeypatch):
    folder = sweep / "00-seed0-beta1"
    write_record(folder, record("running"))

    def ends(_):
        write_record(folder, record("finished"))
        return False

    monkeypatch.setattr("vaelab.runs.status.is_alive", ends)
    assert states(sweep)[folder.name] == "finished"


def test_a_job_without_a_record_is_starting_or_waits(sweep):
    for name in ("00-seed0-beta1", "01-seed0-beta2"):
        (sweep / name / ".hydra").mkdir(parents=True)
    with claim(sweep / "00-seed0-beta1"):
        assert list(states(sweep).values()) == ["running", *["waiting"] * 5]
        assert "starting" in report(sweep)[0]


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"\xff\xfe", b'{"schema": 1, "status": "odd"}', b'{"schema": 1}']
)
def test_a_broken_record_is_named_and_the_others_are_shown(sweep, content):
    write_record(sweep / "01-seed0-beta2", record("finished"))
    (sweep / "00-seed0-beta1").mkdir()
    (sweep / "00-seed0-beta1" / "results.json").write_bytes(content)
    text, counts = report(sweep)
    assert counts == {"finished": 1, "unreadable": 1, "waiting": 4}
    assert "its record can't be read: " in text


def test_a_sweep_that_has_grown_shows_each_job_once(sweep):
    """A job of the old grid keeps its folder and its number, also one that is no longer planned."""
    write_record(sweep / "00-seed0-beta4", record("finished"))
    write_record(sweep / "101-seed9-beta9", record("finished"))
    (sweep / "report").mkdir()
    assert [name[:3] for name in states(sweep)] == ["00-", "00-", "01-", "03-", "04-", "05-", "101"]


@pytest.mark.parametrize("content", ["", "a: 1", "[", "hydra: {overrides: {}}", "hydra: {sweeper: {}}"])
def test_without_a_plan_that_can_be_read_what_is_there_is_shown(sweep, content):
    (sweep / "multirun.yaml").write_text(content)
    write_record(sweep / "00-x", record("finished"))
    assert states(sweep) == {"00-x": "finished"}


def test_a_run_of_its_own_is_one_line_and_promises_no_resume(tmp_path):
    folder = tmp_path / "outputs" / "runs" / "one"
    write_record(folder, record("running"))
    beat(folder, epoch=2, max_epochs=4)
    text, _ = report(folder)
    assert "interrupted  2/4  50%" in text
    assert "same command" not in text
    assert text.endswith("1 job: 1 interrupted.")


def test_a_long_error_is_its_last_line_and_a_short_one_whole(sweep):
    write_record(sweep / "00-a", record("failed", error="Traceback:\n  File x\n  at y\nKeyError: 'z'\n"))
    write_record(sweep / "01-b", record("failed", error="data.path is not there.\nGive a file."))
    write_record(sweep / "02-c", record("failed"))
    text = report(sweep)[0]
    assert " KeyError: 'z'. Log: " in text
    assert "Traceback" not in text
    assert " data.path is not there. Give a file. Log: " in text
    assert " no reason given. Log: " in text


def test_the_time_left_is_that_of_the_epochs_to_come(tmp_path):
    beat(tmp_path, epoch=10, max_epochs=40, fit_seconds=20.0)
    now = json.loads((tmp_path / "heartbeat.json").read_text())["time"] + 1.5
    progress = read_progress(tmp_path, now)
    assert progress.left == 60.0
    assert progress.age == pytest.approx(1.5)
    assert progress.share == 0.25


@pytest.mark.parametrize(
    "content", [{}, {"epoch": "3", "max_epochs": True}, {"epoch": 2, "max_epochs": -1, "time": "x"}]
)
def test_a_heartbeat_that_lacks_something_says_the_rest(tmp_path, content):
    (tmp_path / "heartbeat.json").write_text(json.dumps({"fit_seconds": 3, **content}))
    progress = read_progress(tmp_path)
    assert (progress.left, progress.age) == (None, None)
    assert progress.epoch == (2 if content.get("epoch") == 2 else 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (99.4, "99 s"), (99.6, "2 min"), (7100, "118 min"), (7500, "2 h 05 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def run_command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["vaelab-status", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def test_the_command_takes_the_newest_sweep_a_name_or_a_folder(sweep, tmp_path, monkeypatch, capsys):
    outputs = tmp_path / "outputs"
    write_record(sweep / "00-seed0-beta1", record("finished"))
    for where in ([], ["mine"], [sweep], [sweep / "multirun.yaml"]):
        code, out, _ = run_command(monkeypatch, capsys, *where, f"paths.outputs={outputs}")
        assert code == 0
        assert out.startswith(f"{sweep}\n")
        assert "6 jobs: 1 finished, 5 waiting." in out
    _, out, _ = run_command(monkeypatch, capsys, sweep / "00-seed0-beta1")
    assert out.endswith("1 job: 1 finished.\n")


def test_a_mistake_is_told_in_two_lines_at_most_with_exit_code_2(sweep, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    for arguments, text in (
        (["mime", f"paths.outputs={tmp_path / 'outputs'}"], "Did you mean 'mine'?"),
        ([f"paths.outputs={tmp_path / 'nowhere'}"], "There is no sweep in"),
        ([tmp_path / "empty"], "contains no run and no sweep"),
    ):
        code, out, err = run_command(monkeypatch, capsys, *arguments)
        assert (code, out) == (2, "")
        assert err.startswith("vaelab-status: ")
        assert text in err
        assert len(err.splitlines()) <= 2
    code, _, err = run_command(monkeypatch, capsys, sweep, "--watch", "0")
    assert code == 2
    assert "not a number of seconds" in err


def test_watch_prints_again_until_nothing_is_left(sweep, monkeypatch, capsys):
    (sweep / "multirun.yaml").unlink()
    write_record(sweep / "00-a", record("running"))
    held = [claim(sweep / "00-a")]
    slept = []

    def step(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            write_record(sweep / "00-a", record("finished"))
            with held.pop():
                pass

    monkeypatch.setattr(time, "sleep", step)
    code, out, _ = run_command(monkeypatch, capsys, sweep, "--watch")
    assert code == 0
    assert slept == [2.0, 2.0]
    assert out.count("1 job: 1 running.") == 2
    assert out.endswith("1 job: 1 finished.\n\n")
    assert "\x1b" not in out  # not a terminal


def test_watch_ends_with_control_c_without_a_traceback(sweep, monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    code, out, err = run_command(monkeypatch, capsys, sweep, "--watch", "0.5")
    assert code == 130
    assert "6 jobs: 6 waiting." in out
    assert err == ""


@pytest.mark.parametrize("module", ["vaelab.cli.status", "vaelab.cli.compare"])
def test_a_reader_that_leaves_is_no_traceback(sweep, module):
    """The reading end is closed before anything is printed, as `| head -0` does."""
    write_record(sweep / "00-seed0-beta1", record("finished"))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        ended = subprocess.run(
            [sys.executable, "-m", module, str(sweep)],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.stderr == ""
    assert ended.returncode == 141


def test_the_command_is_light_also_from_the_checkout(sweep):
    write_record(sweep / "00-seed0-beta1", record("running"))
    script = Path(__file__).parents[2] / "scripts" / "status.py"
    code = (
        "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
        "heavy = 'torch', 'pytorch_lightning', 'wandb', 'matplotlib', 'numpy', 'PIL'\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(script), str(sweep)], capture_output=True, text=True, check=True
    )
    assert "6 jobs: 1 interrupted, 5 waiting." in found.stdout
    assert found.stdout.splitlines()[-1] == "[]"


def running(left, phase="training"):
    return Job("r", "running", progress=Progress(3, 12, 0.0, left, phase))


FINISHED = [Job("a", "finished", seconds=10.0), Job("b", "finished", seconds=30.0)]  # 20 s on the average
WAITING = [Job("w", "waiting")]


@pytest.mark.parametrize(
    ("jobs", "seconds"),
    [
        ([*FINISHED, running(5.0), *WAITING], 25.0),
        ([*FINISHED, running(5.0), running(7.0), *WAITING * 4], (5 + 7 + 4 * 20) / 2),
        ([*FINISHED, running(5.0), running(90.0)], 90.0),  # the longest of those that run
        ([*FINISHED, running(None)], 20.0),
        ([running(5.0)], 5.0),
        ([running(5.0), *WAITING], None),  # how long that takes is not known
        ([*FINISHED], 0.0),
    ],
)
def test_what_is_left_of_a_sweep(jobs, seconds):
    assert remaining(jobs) == seconds


@pytest.mark.parametrize("phase", ["testing", "pictures"])
def test_a_run_says_what_it_does_and_has_no_time_of_training_left(sweep, phase):
    job = sweep / "01-seed0-beta2"
    write_record(job, record("running"))
    write_record(sweep / "00-seed0-beta1", record("finished"))
    beat(job, epoch=12, max_epochs=12, fit_seconds=6.0, phase=phase)
    with claim(job):
        text, _ = report(sweep)
    [line] = [line for line in text.splitlines() if line.startswith(job.name)]
    assert " ".join(line.split()) == f"{job.name} running 12/12 100% {phase}, last beat 0 s ago"
    assert text.endswith("About 62 s left.")  # 5 jobs of 12.3 s

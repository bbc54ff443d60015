"""What a sweep's command says of jobs that run in other processes."""

import itertools

import pytest

from vaelab.cli.watch import Watch, sentence
from vaelab.runs.record import SCHEMA, write_record
from vaelab.runs.status import Job, Progress

PLAN = "hydra: {sweeper: {params: null}, overrides: {task: ['model.beta=1,2,4']}}"


def record(status, seconds=8.0, **more):
    return {"schema": SCHEMA, "status": status, "error": None, "timing": {"total_seconds": seconds}, **more}


@pytest.fixture
def sweep(tmp_path):
    (tmp_path / "multirun.yaml").write_text(PLAN)
    return tmp_path


def test_a_job_that_ends_is_said_once_and_one_that_had_ended_is_not(sweep):
    lines = []
    write_record(sweep / "00-beta1", record("finished"))
    watch = Watch(sweep, lines.append)
    watch.look()
    assert lines == []
    write_record(sweep / "01-beta2", record("failed", error="ValueError: no"))
    watch.look()
    watch.look()
    assert lines == ["01-beta2 failed in 8 s. 1 of 3 jobs finished, 1 failed, 1 waiting."]


def test_in_between_it_says_how_far_the_jobs_are_at_growing_intervals(sweep, monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock, lines, times = Clock(), [], []
    jobs = [
        Job("00-beta1", "finished", seconds=8.0),
        Job("01-beta2", "running", progress=Progress(3, 12, 0.0, 18.0, "training")),
        Job("02-beta4", "waiting"),
    ]
    monkeypatch.setattr("vaelab.cli.watch.time", clock)
    monkeypatch.setattr("vaelab.cli.watch.sweep_jobs", lambda folder: jobs)
    watch = Watch(sweep, lines.append)
    for second in range(0, 3600, 5):
        clock.now = float(second)
        watch.look()
        if len(lines) > len(times):
            times.append(second)
    running = "1 running (01-beta2 epoch 3/12), 1 waiting; about 26 s left."
    assert set(lines) == {f"1 of 3 jobs finished, {running}"}
    assert times[:5] == [10, 20, 30, 45, 70]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) == 300


def test_of_many_jobs_only_the_number_is_said():
    jobs = [Job(f"{n}", "running", progress=Progress(1, 2, 0.0, 4.0, "testing")) for n in range(4)]
    assert sentence(jobs).startswith("0 of 4 jobs finished, 4 running (0 testing, 1 testing, ")
    assert sentence([*jobs, jobs[0]]) == "0 of 5 jobs finished, 5 running; about 4 s left."


def test_a_closed_terminal_ends_it(sweep):
    def closed(line):
        raise BrokenPipeError

    watch = Watch(sweep, closed)
    write_record(sweep / "00-beta1", record("finished"))
    watch.start()
    watch.stop()

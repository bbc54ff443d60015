import io
import itertools
import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar

from builders import data_module, lit, trainer
from vaelab.runs.request import RunRequest
from vaelab.training.callbacks import progress
from vaelab.training.callbacks.progress import EpochLines, RunBar

MODULE = sys.modules[RunBar.__module__]  # its package has a function of the same name
REQUEST = RunRequest(Path("runs/mine"), variant="vae", dataset="digits", name="vae-digits")
JOB = replace(REQUEST, folder=Path("sweeps/s/02-beta4"), job="job 3/6", alone=False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Stands in for the module `time`; a second passes from one reading to the next."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


@pytest.mark.parametrize(
    ("stream", "request_", "kind"),
    [
        (Terminal(), REQUEST, RunBar),
        (Terminal(), JOB, RunBar),
        (Terminal(), replace(JOB, beside=True), EpochLines),  # several would draw over each other
        (io.StringIO(), REQUEST, EpochLines),
    ],
)
def test_a_bar_on_a_terminal_of_ones_own_and_lines_elsewhere(monkeypatch, stream, request_, kind):
    monkeypatch.setattr("sys.stdout", stream)
    assert type(progress(request_)) is kind


def lines_of(tmp_path, caplog, lines: EpochLines, epochs: int, **options) -> list[str]:
    with caplog.at_level(logging.INFO, logger="vaelab"):
        made = trainer(tmp_path, callbacks=[lines], max_epochs=epochs, enable_progress_bar=True, **options)
        made.fit(lit(), datamodule=data_module(train=40, batch_size=10))
    return [record.message for record in caplog.records if record.message.startswith("epoch")]


def test_the_last_epoch_has_a_line(tmp_path, caplog):
    [line] = lines_of(tmp_path, caplog, EpochLines(first=1000), epochs=4)
    assert line.split()[1] == "4/4"
    assert "train/loss" in line
    assert "val/elbo" in line
    assert "left" not in line


def test_lines_come_at_growing_intervals_and_say_what_is_left(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(MODULE, "time", Clock())
    lines = lines_of(tmp_path, caplog, EpochLines(first=20), epochs=30)
    epochs = [int(line.split()[1].partition("/")[0]) for line in lines]
    gaps = [after - before for before, after in zip([0, *epochs], epochs, strict=False)]
    assert 3 <= len(lines) <= 12
    assert gaps[:-1] == sorted(gaps[:-1])
    assert epochs[-1] == 30
    assert all(line.endswith(("s left", "min left")) for line in lines[:-1])


def test_a_long_epoch_has_lines_within_it(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(MODULE, "time", Clock())
    lines = lines_of(tmp_path, caplog, EpochLines(first=3), epochs=1)
    assert len(lines) >= 2
    assert all(line.startswith("epoch 1/1") for line in lines)


def test_no_interval_is_longer_than_the_longest(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(MODULE, "time", Clock())
    lines = lines_of(tmp_path, caplog, EpochLines(first=12, longest=12), epochs=20)
    epochs = [int(line.split()[1].partition("/")[0]) for line in lines]
    assert max(after - before for before, after in itertools.pairwise(epochs)) <= 3


def test_a_line_tells_the_loss_of_its_own_epoch(tmp_path, caplog):
    model, lines = lit(), EpochLines()
    with caplog.at_level(logging.INFO, logger="vaelab"):
        made = trainer(
            tmp_path, callbacks=[lines], max_epochs=1, enable_progress_bar=True, log_every_n_steps=1000
        )
        made.fit(model, datamodule=data_module())
    [line] = [record.message for record in caplog.records if record.message.startswith("epoch")]
    assert f"train/loss {made.callback_metrics['train/loss']:.2f}" in line


def test_one_bar_for_the_run_and_for_what_is_measured(tmp_path, monkeypatch, caplog):
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr(MODULE, "EVERY", 0.0)
    monkeypatch.setenv("COLUMNS", "100")
    bar = RunBar("job 3/6 02-beta4", sweep_left=3600.0)
    made = trainer(tmp_path, callbacks=[bar], max_epochs=3, enable_progress_bar=True)
    drawn = []
    update = bar._bar.update
    monkeypatch.setattr(
        bar._bar, "update", lambda task, **values: (drawn.append(values), update(task, **values))
    )
    model = lit()
    with caplog.at_level(logging.INFO, logger="vaelab"):
        made.fit(model, datamodule=data_module())
        made.validate(model, datamodule=data_module(), verbose=False)
        made.test(model, datamodule=data_module(), verbose=False)
    [total] = [values["total"] for values in drawn if "total" in values]
    steps = [values["completed"] for values in drawn if "completed" in values]
    assert total == made.global_step == steps[-1]
    assert steps == sorted(steps)
    texts = [values["text"] for values in drawn if "text" in values]
    last = next(text for text in reversed(texts) if text.startswith("epoch"))
    assert last.startswith("epoch 3/3")
    assert "(sweep 60 min)" in last
    assert "loss " in last
    assert "ELBO -" in last
    others = [text for text in texts if not text.startswith("epoch")]
    assert others[-3:] == ["measuring", "testing", "pictures"]
    assert "job 3/6 02-beta4" in stream.getvalue()
    [line] = [record.message for record in caplog.records if record.name.startswith("vaelab")]
    assert line.startswith("epoch 3/3")


def test_what_is_logged_meanwhile_stands_above_the_bar_and_the_streams_are_given_back(tmp_path, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        made = trainer(tmp_path, callbacks=[RunBar("mine")], max_epochs=1, enable_progress_bar=True)

        class Speaker(pl.Callback):
            def on_train_epoch_start(self, *_):
                logging.getLogger("vaelab").warning("A word.")
                raise ValueError("stop")

        made.callbacks.append(Speaker())
        with pytest.raises(ValueError, match="stop"):
            made.fit(lit(), datamodule=data_module())
        assert handler.stream is stream
    finally:
        root.removeHandler(handler)
    lines = stream.getvalue().replace("\r", "\n").splitlines()
    assert any(line.removeprefix("\x1b[2K") == "A word." for line in lines)
    assert sys.stdout is stream
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")  # the cursor is back


def test_a_bar_of_lightnings_own_gets_the_loss_and_the_elbo(tmp_path):
    bar = TQDMProgressBar()
    made = trainer(tmp_path, callbacks=[bar], max_epochs=1, enable_progress_bar=True)
    made.fit(module := lit(), datamodule=data_module(train=40, batch_size=10))
    shown = bar.get_metrics(made, module)
    assert shown["train/loss"] == made.callback_metrics["train/loss"].item()
    assert shown["val/elbo"] == made.callback_metrics["val/elbo"].item()

import io
import logging

import pytest

from builders import data_module, lit, trainer
from vaelab.training.callbacks import progress
from vaelab.training.callbacks.progress import EpochBar, EpochLines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "kind"), [(Terminal(), EpochBar), (io.StringIO(), EpochLines)])
def test_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch, stream, kind):
    monkeypatch.setattr("sys.stdout", stream)
    assert type(progress()) is kind


def lines_of(tmp_path, caplog, lines: EpochLines, epochs: int) -> list[str]:
    with caplog.at_level(logging.INFO, logger="vaelab"):
        made = trainer(tmp_path, callbacks=[lines], max_epochs=epochs, enable_progress_bar=True)
        made.fit(lit(), datamodule=data_module())
    return [record.message for record in caplog.records if record.message.startswith("epoch")]


def test_the_first_and_the_last_epoch_have_a_line(tmp_path, caplog):
    lines = lines_of(tmp_path, caplog, EpochLines(seconds=1000), epochs=4)
    assert [line.split()[1] for line in lines] == ["1/4", "4/4"]
    assert "train/loss" in lines[-1]
    assert "val/elbo" in lines[-1]


def test_a_line_tells_the_loss_of_its_own_epoch(tmp_path, caplog):
    model, lines = lit(), EpochLines(seconds=0)
    with caplog.at_level(logging.INFO, logger="vaelab"):
        made = trainer(
            tmp_path, callbacks=[lines], max_epochs=1, enable_progress_bar=True, log_every_n_steps=1000
        )
        made.fit(model, datamodule=data_module())
    [line] = [record.message for record in caplog.records if record.message.startswith("epoch")]
    assert f"train/loss {made.callback_metrics['train/loss']:.2f}" in line


def test_the_bar_leaves_no_lines_of_validation(tmp_path, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    made = trainer(tmp_path, callbacks=[EpochBar()], enable_progress_bar=True)
    made.fit(lit(), datamodule=data_module())
    made.validate(lit(), datamodule=data_module(), verbose=False)
    assert "Epoch 1" in stream.getvalue()
    assert "Validation" not in stream.getvalue()
    assert "\x1b[A" not in stream.getvalue()

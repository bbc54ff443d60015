"""Each file of a sweep, damaged in each way: every command says so in a line or two, and nothing is lost."""

import io
import shutil
import sys
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from cli_runner import Result, process_put_back, read_record, run, without_report
from support.stopper import Stop
from vaelab.cli import compare, evaluate, status

SETTINGS = (
    "-m",
    "model=vae",
    "model.beta=1,2",
    "sweep.name=s",
    "data=digits",
    "data.train_size=64",
    "data.val_size=32",
    "network.hidden=[8]",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "logger=none",
    "callbacks=no_pictures",
    "threads=1",
    "+callbacks.stop._target_=support.stopper.Stop",
)


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """Every seventh byte of the middle third, inverted."""
    third = len(content) // 3
    middle = bytes(b ^ 0xFF if i % 7 == 0 else b for i, b in enumerate(content[third : 2 * third]))
    return content[:third] + middle + content[2 * third :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _: None,
    "empty": lambda _: b"",
    "halved": halved,
    "flipped": flipped,
    "zeros": lambda content: bytes(len(content)),
    "other": lambda _: b"PK\x03\x04 {]}\n\xff\xfe not what it was",
}
FILES = [  # those in a tuple are damaged together: none of them stops the command
    "results.json",
    ("history.csv", "heartbeat.json", ".hydra/config.yaml"),
    "checkpoints/last.ckpt",
    "checkpoints/best.ckpt",
    "../sweep.yaml",
    "../multirun.yaml",
]
QUICK = {("results.json", "halved"), ("checkpoints/last.ckpt", "flipped"), (FILES[1], "zeros")}


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The outputs of a finished sweep, and of one whose second job was stopped within its second epoch."""
    done = {}
    with without_report():
        for state in ("finished", "stopped"):
            done[state] = tmp_path_factory.mktemp(state)
            Stop.at("train_epoch_end" if state == "stopped" else None, 4)
            run(done[state], *SETTINGS)
            Stop.at(None)
    assert read_record(next(done["stopped"].glob("sweeps/s/01-*")))["status"] == "interrupted"
    return done


def called(main: Callable[[], None], outputs: Path, *arguments: str) -> Result:
    out, err = io.StringIO(), io.StringIO()
    with chdir(outputs), process_put_back(), redirect_stdout(out), redirect_stderr(err):
        sys.argv[:] = ["command", *arguments]
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    return Result(
        code if isinstance(code, int) else int(code is not None), out.getvalue(), err.getvalue(), outputs
    )


def kinds(files: str | tuple[str, ...]) -> set[str]:
    """What makes a difference: a checkpoint is binary, a text that is cut or flipped is another text."""
    if str(files).startswith("checkpoints"):
        return {*DAMAGES} - {"zeros"}
    return {"missing", "empty", "other", "halved" if files == "results.json" else "zeros"}


CASES = [
    pytest.param(state, files, damage, marks=() if (files, damage) in QUICK else pytest.mark.slow)
    for state, places in {"finished": ("results.json", "checkpoints/best.ckpt"), "stopped": FILES}.items()
    for files in places
    for damage in DAMAGES
    if damage in kinds(files)
]


def damaged(path: Path, damage: str) -> None:
    content = DAMAGES[damage](path.read_bytes() if path.is_file() else b"")
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize(("state", "files", "damage"), CASES)
def test_a_damaged_file_is_said_in_a_line_and_the_sweep_goes_on(tmp_path, sweeps, state, files, damage):
    outputs = shutil.copytree(sweeps[state], tmp_path / "outputs")
    [job] = outputs.glob("sweeps/s/01-*")
    [other] = outputs.glob("sweeps/s/00-*")
    undamaged = read_record(other)
    for file in (files,) if isinstance(files, str) else files:
        damaged((job / file).resolve(), damage)

    sweep = str(outputs / "sweeps" / "s")
    evaluation = ("eval.latent_space.images=20", "log=false", "udr=null", f"paths.outputs={outputs}")
    only = [
        f"eval.{name}=null"
        for name in ("sample_quality", "probes", "importance_nll", "disentanglement_scores")
    ]
    results = [called(status.main, outputs, sweep)]
    if state == "stopped" and "checkpoints" not in str(files) and ".." not in str(files):
        results.append(called(compare.main, outputs, sweep))
    if state == "finished":
        results.append(called(evaluate.main, outputs, str(job), *evaluation, *only))
    for result in results:
        assert "Traceback" not in result.out + result.err
        assert "not foreseen" not in result.out + result.err
    with without_report():
        again = run(outputs, *SETTINGS)
    assert "Traceback" not in again.out + again.err
    assert "not foreseen" not in again.out + again.err
    assert read_record(other) == undamaged  # nothing that was whole is lost
    if again.code == 0:
        assert read_record(job)["status"] == "finished"
    else:
        assert 1 <= len(again.err.strip().splitlines()) <= 3, again.err

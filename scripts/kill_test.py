"""Kill a sweep at random times, restart it until it is finished, and compare it with an undisturbed one.

    python scripts/kill_test.py --kills 20 --folder /tmp/kills

Each kill is a SIGKILL to the sweep's process, at a random time after its start or after training began. At
the end the metrics, checkpoints and histories of both sweeps must be equal bit for bit, no finished job may
have been trained again, and no temporary file may remain.
"""

import argparse
import csv
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from vaelab.runs.lock import FILE_NAME, read_beat

SETTINGS = (
    "-m", "model=vae,ae", "seed=0,1", "data=digits", "data.train_size=600", "data.batch_size=16",
    "network.hidden=[32]", "trainer.accelerator=cpu", "trainer.max_epochs=12", "logger=none",
    "callbacks.last.every_minutes=0.005", "callbacks.samples.every_n_epochs=5", "sweep.name=killed",
    "threads=1",
)  # fmt: skip

# keys of a checkpoint that are paths, or that Lightning writes but does not restore
IGNORED_KEYS = (
    "dirpath",
    "best_model_path",
    "best_k_models",
    "kth_best_model_path",
    "paths",
    "folder",
    "current_score",
)


def command(outputs: Path, *more: str) -> list[str]:
    train = "import sys; sys.argv[0] = 'vaelab-train'; from vaelab.cli.train import train; train()"
    return [sys.executable, "-c", train, *SETTINGS, *more, f"paths.outputs={outputs}"]


def wait_for_training(process: subprocess.Popen[bytes], sweep: Path) -> None:
    """Until one of the sweep's heartbeats is of this process: the imports took most of the time till then."""
    while process.poll() is None:
        if any(
            (read_beat(file.parent) or {}).get("pid") == process.pid for file in sweep.glob(f"*/{FILE_NAME}")
        ):
            return
        time.sleep(0.05)


def finished(sweep: Path) -> dict[str, list[Any]]:
    """The sessions of each finished job."""
    records = {file.parent.name: json.loads(file.read_text()) for file in sweep.glob("*/results.json")}
    return {name: record["sessions"] for name, record in records.items() if record["status"] == "finished"}


def kill_until_done(
    outputs: Path, kills: int, longest: float, draw: random.Random, more: tuple[str, ...]
) -> list[str]:
    """Start, kill and start again; return what went wrong."""
    sweep, problems = outputs / "sweeps" / "killed", []
    done: dict[str, list[Any]] = {}
    outputs.mkdir(parents=True)
    for number in range(kills + 1):
        last = number == kills
        with (outputs / f"log-{number:02d}.txt").open("w") as log:
            process = subprocess.Popen(command(outputs, *more), stdout=log, stderr=subprocess.STDOUT)
            if not last:
                if draw.random() < 0.9:  # now and then while it is still starting
                    wait_for_training(process, sweep)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(draw.uniform(0, longest))
                process.send_signal(signal.SIGKILL)
            code = process.wait()
        now = finished(sweep)
        print(f"{number + 1:3d}: exit {code:3d}, {len(now)} jobs finished", flush=True)
        problems += [f"{name} was trained again" for name in done if now.get(name) != done[name]]
        done = now
    if code != 0:
        problems.append(f"the last start ended with {code}; see {outputs}/log-{kills:02d}.txt")
    return problems


def different(pair: Sequence[Any], where: str) -> list[str]:
    """The places in which two nested values differ."""
    one, other = pair
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [key for key in {**one, **other} if key not in IGNORED_KEYS]
        return [d for key in keys for d in different((one.get(key), other.get(key)), f"{where}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [
            d for n, pair in enumerate(zip(one, other, strict=True)) for d in different(pair, f"{where}/{n}")
        ]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) else [where]
    return [] if one == other or (one != one and other != other) else [f"{where}: {one} and {other}"]


def compare(killed: Path, undisturbed: Path) -> list[str]:
    """The differences between the results of two sweeps."""
    problems = []
    jobs = sorted(file.parent.name for file in undisturbed.glob("*/results.json"))
    if jobs != sorted(file.parent.name for file in killed.glob("*/results.json")):
        return ["the sweeps have different jobs"]
    for job in jobs:
        a, b = (
            {"results": json.loads((s / job / "results.json").read_text())} for s in (killed, undisturbed)
        )
        for key in ("status", "metrics", "weights", "parameters", "data", "swept"):
            problems += different((a["results"][key], b["results"][key]), f"{job}/{key}")
        for file in sorted((undisturbed / job / "checkpoints").glob("*")):
            pair = [
                torch.load(s / job / "checkpoints" / file.name, weights_only=True)
                for s in (killed, undisturbed)
            ]
            problems += different(pair, f"{job}/{file.name}")
        rows = [list(csv.reader((s / job / "history.csv").open())) for s in (killed, undisturbed)]
        problems += different(rows, f"{job}/history.csv")
        pictures = [
            sorted(p.relative_to(s).as_posix() for p in s.glob(f"{job}/*/*.png"))
            for s in (killed, undisturbed)
        ]
        problems += different(pictures, f"{job}: pictures")
    problems += [f"temporary file: {file}" for file in killed.glob("**/.tmp-*")]
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--longest", type=float, default=8.0, help="seconds of training before a kill, at most"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the times of kills")
    parser.add_argument("--folder", type=Path, required=True, help="a new folder")
    parser.add_argument("settings", nargs="*", help="further settings of vaelab-train")
    options = parser.parse_args()
    draw, started = random.Random(options.seed), time.monotonic()
    more = tuple(options.settings)
    problems = kill_until_done(options.folder / "killed", options.kills, options.longest, draw, more)
    subprocess.run(command(options.folder / "undisturbed", *more), check=True, stdout=subprocess.DEVNULL)
    problems += compare(*(options.folder / name / "sweeps" / "killed" for name in ("killed", "undisturbed")))
    sessions = finished(options.folder / "killed" / "sweeps" / "killed")
    print(f"{options.kills} kills; sessions per job: {[len(s) for s in sessions.values()]}", end="; ")
    print(f"{time.monotonic() - started:.0f} s")
    if problems:
        sys.exit("\n".join(problems))
    print("Equal to the undisturbed sweep: records, checkpoints, histories. No job was trained twice.")


if __name__ == "__main__":
    main()

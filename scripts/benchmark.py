"""Measure how fast vaelab trains, relative to a bare PyTorch loop, and how fast its command answers.

    python scripts/benchmark.py [--networks small mlp conv] [--peers] [--compile] [--device cuda] [--command]

Every contender trains the same network on the same random images with the same batches, objective and number
of threads. They take turns within one process, so that a machine that slows down slows all of them. A ratio
is that of images per second to those of the bare loop with fused Adam in the same round, which has no
validation, checkpoints or records: its least value, median and largest over the rounds. ``vaelab`` is
vaelab's training steps, with Trainer, callbacks and offline W&B; ``vaelab, whole fit`` also counts
validation after every epoch and checkpoints. ``--peers`` adds a plain LightningModule, and pythae where it is
installed (pip install pythae).
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=12_800, help="training images per epoch")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2, help="epochs per round")
    parser.add_argument("--networks", nargs="+", default=["small", "mlp", "conv"])
    parser.add_argument("--threads", type=int, help="torch's threads; torch's own choice unless given")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--peers", action="store_true", help="also a plain LightningModule, and pythae")
    parser.add_argument("--compile", action="store_true", help="also vaelab with compile=default")
    parser.add_argument("--command", action="store_true", help="also the seconds of --help and of a mistake")
    options = parser.parse_args()

    if options.command:
        time_the_command(runs=5)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"WANDB_DATA_DIR": folder, "WANDB_CACHE_DIR": folder, "WANDB_SILENT": "true"}
        for network in options.networks:
            compare(network, options, Path(folder))


def time_the_command(runs: int) -> None:
    """Wall time of the whole process, from shell to prompt."""
    command = [sys.executable, str(Path(__file__).resolve().parent / "train.py")]
    for name, arguments in {"--help": ["--help"], "config error": ["model.bta=2"]}.items():
        seconds = []
        for _ in range(runs):
            start = time.perf_counter()
            subprocess.run([*command, *arguments], capture_output=True, check=False)
            seconds.append(time.perf_counter() - start)
        print(f"vaelab-train {name}: {statistics.median(seconds):.2f} s", flush=True)


def compare(network: str, options: argparse.Namespace, folder: Path) -> None:
    """Print a table for one network."""
    import torch

    import contenders

    if options.threads:
        torch.set_num_threads(options.threads)
    ours = {"vaelab": ()} | ({"vaelab, compiled": ("compile=default",)} if options.compile else {})
    others: dict[str, contenders.Contender] = {
        "bare loop, Adam not fused": partial(contenders.bare, fused=False)
    }
    if options.peers:
        others["plain LightningModule"] = contenders.lightning
        if importlib.util.find_spec("pythae"):
            others["pythae"] = contenders.pythae
        else:
            print("pythae is not installed: left out")
    ratios: dict[str, list[float]] = {}
    speeds = []
    for number in range(options.rounds + 1):  # the first round warms up
        with contenders.quiet():
            speed = contenders.bare(network, options, folder)
            found = {}
            for name, settings in ours.items():
                place = folder / f"{network}{number}{len(settings)}"
                place.mkdir()
                found[name], found[f"{name}, whole fit"] = contenders.vaelab(
                    network, options, place, *settings
                )
            for name, run in others.items():
                place = folder / f"{network}{number}-{len(found)}"
                found[name] = run(network, options, place)
        if number > 0:
            speeds.append(speed)
            for name, value in found.items():
                ratios.setdefault(name, []).append(value / speed)
    size = contenders.NETWORKS[network]
    print(
        f"\n{size['network']} {size['hidden']}, {size['side']}x{size['side']}, batch {options.batch}, "
        f"{options.device}, {torch.get_num_threads()} threads, {options.rounds} rounds; bare loop with fused "
        f"Adam {statistics.median(speeds):,.0f} images/s\n{'':28}   min  median  max"
    )
    for name, values in ratios.items():
        print(f"{name:28} {min(values):6.3f} {statistics.median(values):6.3f} {max(values):6.3f}", flush=True)


if __name__ == "__main__":
    main()

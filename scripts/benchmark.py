"""Measure how fast vaelab trains, relative to a bare PyTorch loop, and how fast its command answers.

    python scripts/benchmark.py [--networks small mlp conv] [--peers] [--compile] [--device cuda] [--command]
    python scripts/benchmark.py --networks --processes [--peers]

``--plot ratios.png`` draws the ratios.

Every contender trains the same network on the same random images with the same batches, objective and number
of threads. They take turns within one process, so that a machine that slows down slows all of them. A ratio
is that of images per second to those of the bare loop with fused Adam in the same round, which has no
validation, checkpoints or records: its least value, median and largest over the rounds. ``vaelab`` is
vaelab's training steps, with Trainer, callbacks and offline W&B; ``vaelab, whole fit`` also counts
validation after every epoch and checkpoints. ``--peers`` adds a plain LightningModule, and pythae where it is
installed (pip install pythae).

``--processes`` times whole processes in seconds, from shell to prompt: one optimizer step, and eight fits of
30 epochs on as many images as the digits have. vaelab's are a run, a sweep of eight betas and a multi-rate
run, with checks, records, W&B and, but for ``plain``, pictures and report; the others train and end.
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

DIGITS = 1237  # training images of data=digits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=12_800, help="training images per epoch")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2, help="epochs per round")
    parser.add_argument("--fit-epochs", type=int, default=30, help="epochs of a fit of --processes")
    parser.add_argument("--networks", nargs="*", default=["small", "mlp", "conv"])
    parser.add_argument("--threads", type=int, help="torch's threads; torch's own choice unless given")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--peers", action="store_true", help="also a plain LightningModule, and pythae")
    parser.add_argument("--compile", action="store_true", help="also vaelab with compile=default")
    parser.add_argument("--processes", action="store_true", help="also the seconds of whole processes")
    parser.add_argument("--command", action="store_true", help="also the seconds of --help and of a mistake")
    parser.add_argument("--plot", type=Path, help="a PNG file for the ratios")
    options = parser.parse_args()

    if options.command:
        time_the_command(runs=5)
    if options.processes:
        time_processes(options)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"WANDB_DATA_DIR": folder, "WANDB_CACHE_DIR": folder, "WANDB_SILENT": "true"}
        tables = dict(compare(network, options, Path(folder)) for network in options.networks)
    if options.plot:
        options.plot.write_bytes(drawn(tables))


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


def processes(options: argparse.Namespace) -> dict[str, list[str]]:
    """name -> command of Python: the digits, or as many random images, and mlp 64."""
    here = Path(__file__).resolve().parent
    names = ["bare", "lightning"] if options.peers else ["bare"]
    if options.peers and importlib.util.find_spec("pythae"):
        names.append("pythae")
    sizes = {"one step": (options.batch, 1, 1), "eight fits": (DIGITS, options.fit_epochs, 8)}
    commands = {
        f"{what}, {name}": [
            *(str(here / "contenders.py"), name, "small", f"--images={images}", f"--epochs={epochs}"),
            *(f"--fits={fits}", f"--batch={options.batch}"),
        ]
        for what, (images, epochs, fits) in sizes.items()
        for name in names
    }
    train = str(here / "train.py")
    small = [
        "network.hidden=[64]",
        f"data.batch_size={options.batch}",
        f"trainer.max_epochs={options.fit_epochs}",
    ]
    step = [train, *small, "trainer.max_steps=1"]
    sweep = [train, "-m", "model=beta_vae", "model.beta=0.1,0.2,0.4,0.7,1,2,3,4", *small]
    return commands | {
        "one step, vaelab": step,
        "one step, vaelab, plain": [*step, "callbacks=none", "logger=none"],
        "eight fits, vaelab": sweep,
        "eight fits, vaelab, joblib": [*sweep, "hydra/launcher=joblib"],
        "the curve, multi_rate_vae": [train, *small, "model=multi_rate_vae"],
    }


def time_processes(options: argparse.Namespace) -> None:
    """Print the wall time of the :func:`processes`, which take turns."""
    seconds: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for name, command in processes(options).items():
            with tempfile.TemporaryDirectory() as folder:
                outputs = [f"paths.outputs={folder}"] if command[0].endswith("train.py") else []
                start = time.perf_counter()
                run = [sys.executable, *command, *outputs]
                subprocess.run(run, capture_output=True, check=True, cwd=folder)
                seconds.setdefault(name, []).append(time.perf_counter() - start)
    print(f"\nseconds, {options.rounds} rounds")
    print_table(seconds, digits=1)


def print_table(table: dict[str, list[float]], digits: int) -> None:
    """A line for each name: the least value, the median and the largest."""
    print(f"{'':28}   min  median  max")
    for name, values in table.items():
        numbers = (min(values), statistics.median(values), max(values))
        print(f"{name:28}", *(f"{number:6.{digits}f}" for number in numbers), flush=True)


def compare(network: str, options: argparse.Namespace, folder: Path) -> tuple[str, dict[str, list[float]]]:
    """Print a table for one network; its name, and the ratios of each contender."""
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
    flops = statistics.median(speeds) * contenders.flops_per_image(network, options)
    share = flops / contenders.flops_of_a_product(torch.device(options.device))
    title = f"{size['network']} {size['hidden']}, {size['side']}x{size['side']}"
    print(
        f"\n{title}, batch {options.batch}, "
        f"{options.device}, {torch.get_num_threads()} threads, {options.rounds} rounds; bare loop with fused "
        f"Adam {statistics.median(speeds):,.0f} images/s: {flops / 1e9:,.0f} GFLOP/s, {share:.0%} of a large "
        "matrix product's"
    )
    print_table(ratios, digits=3)
    return title, ratios


def drawn(tables: dict[str, dict[str, list[float]]]) -> bytes:
    """The ratios as a PNG picture: a panel for each network, a bar for each contender."""
    from vaelab.figures.style import INK, MUTED, SERIES, as_png, new_figure, style_axes

    figure = new_figure(2.2 + 2.2 * len(tables), 0.6 + 0.28 * max(map(len, tables.values())))
    panels = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
    for axes, (title, ratios) in zip(panels, tables.items(), strict=True):
        for name, values in ratios.items():
            middle = statistics.median(values)
            error = [[middle - min(values)], [max(values) - middle]]
            colour = SERIES[0] if name.startswith("vaelab") else MUTED
            axes.barh(name, middle, xerr=error, color=colour, ecolor=INK, height=0.65, capsize=2)
        axes.axvline(1, color=INK, linewidth=0.8)
        style_axes(axes, title=title, xlabel="images per second / bare loop")
    panels[0].invert_yaxis()  # as in the table; the axes share it
    return as_png(figure)


if __name__ == "__main__":
    main()

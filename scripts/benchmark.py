"""Measure how fast vaelab trains, relative to a bare PyTorch loop, and how fast its command answers.

    python scripts/benchmark.py [--rounds 5] [--images 12800] [--batch 128] [--networks mlp conv]

vaelab and two bare loops train the same network on the same images with the same batches and objective: one
loop with the default ``torch.optim.Adam``, one with its fused kernel, which vaelab's configs select. They
take turns within one process, so that a machine that slows down slows all of them. A ratio is the median over
rounds of (images per second of vaelab's training steps) / (images per second of a bare loop). vaelab runs
with its defaults: Trainer, callbacks, offline W&B. ``whole fit`` also counts validation after every epoch,
checkpoints and pictures, which a bare loop does not do.
"""

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=12_800, help="training images per epoch")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2, help="epochs per round")
    parser.add_argument("--networks", nargs="+", default=["mlp", "conv"])
    parser.add_argument("--calls", type=int, default=5, help="calls of --help and of a config error")
    options = parser.parse_args()

    time_the_command(options.calls)
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
        print(f"vaelab-train {name}: {statistics.median(seconds):.2f} s (at most 1.5)", flush=True)


def compare(network: str, options: argparse.Namespace, folder: Path) -> None:
    """Print the ratio for one network."""
    plain, fused, whole = [], [], []
    for number in range(options.rounds + 1):
        loop = bare_loop(network, options, fused=False)
        step, fit = vaelab_fit(network, options, folder / f"{network}{number}")
        fused_loop = bare_loop(network, options, fused=True)
        if number > 0:  # the first round warms up
            plain.append(step / loop)
            fused.append(step / fused_loop)
            whole.append(fit / loop)
    print(
        f"{network} at batch {options.batch}, 28x28, {len(plain)} rounds: vaelab / bare loop = "
        f"{statistics.median(plain):.3f} ({min(plain):.3f} to {max(plain):.3f}; at least 0.90); "
        f"vaelab / bare loop with fused Adam = {statistics.median(fused):.3f}; "
        f"whole fit / bare loop = {statistics.median(whole):.3f}; bare loop {loop:,.0f} images/s",
        flush=True,
    )


def images(options: argparse.Namespace) -> Any:
    """Random 28x28 uint8 images, some more of them for validation."""
    import torch

    random = torch.Generator().manual_seed(0)
    return torch.randint(256, (options.images + 1000, 1, 28, 28), dtype=torch.uint8, generator=random)


def bare_loop(network: str, options: argparse.Namespace, fused: bool) -> float:
    """Images per second of a training loop in plain PyTorch."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from vaelab.models import networks

    data = images(options)
    torch.manual_seed(0)
    encoder, decoder = getattr(networks, network)((1, 28, 28), 10, 20, 1)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=fused)
    start = time.perf_counter()
    for _ in range(options.epochs):
        for index in torch.randperm(options.images).split(options.batch):
            x = data[index].float().div_(255)
            loc, log_var = encoder(x).chunk(2, dim=-1)
            z = loc + (0.5 * log_var).exp() * torch.randn_like(loc)
            distortion = binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
            kl = 0.5 * (loc.square() + log_var.exp() - log_var - 1).sum()
            loss = (distortion + kl) / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return options.epochs * options.images / (time.perf_counter() - start)


def vaelab_fit(network: str, options: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Images per second of vaelab's training steps, and of the whole fit."""
    import numpy as np
    import torch

    from vaelab.cli.checks import resolved
    from vaelab.cli.compose import composed
    from vaelab.runs.request import RunRequest
    from vaelab.training.fit import fit

    logging.getLogger("vaelab").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")
    folder.mkdir()
    data = images(options).numpy()
    np.savez(folder / "images.npz", x=data[:-500], x_test=data[-500:])
    settings = [
        "model=vae",
        f"network={network}",
        "data=npz",
        f"data.path={folder / 'images.npz'}",
        "data.val_size=500",
        f"data.batch_size={options.batch}",
        f"trainer.max_epochs={options.epochs}",
        "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
        f"threads={torch.get_num_threads()}",  # as the bare loops have
        f"paths.outputs={folder}",
    ]
    request = RunRequest(folder, variant="vae", dataset="random", name=network)
    timing = fit(resolved(composed("train", settings)), request).timing
    assert timing["images_per_second"] is not None
    assert timing["fit_seconds"] is not None
    return timing["images_per_second"], options.epochs * options.images / timing["fit_seconds"]


if __name__ == "__main__":
    main()

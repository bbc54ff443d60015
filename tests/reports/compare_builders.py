"""Sweeps made of records alone: what a comparison reads, without any training."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vaelab.figures.grids import beside
from vaelab.runs.record import SCHEMA


def make_record(
    beta: float | None = 1.0,
    seed: int = 0,
    rate: float | None = 3.0,
    distortion: float = 20.0,
    **changes: Any,
) -> dict[str, Any]:
    """A finished run's record; ``rate=None`` is an autoencoder's."""
    elbo = None if rate is None else -(rate + distortion)
    kl = None if rate is None else [rate * share for share in (0.2, 0.5, 0.3, 0.0)]
    metrics = {
        f"{split}/{name}": value
        for split in ("val", "test")
        for name, value in {
            "rate": rate,
            "distortion": distortion,
            "elbo": elbo,
            "active_units": 4.0,
            "kl_per_dim": kl if kl else [None] * 4,
            "mse": 0.0421,
        }.items()
    }
    variant = "ae" if rate is None else "beta_vae"
    return {
        "schema": SCHEMA,
        "status": "finished",
        "error": None,
        "name": f"{variant}-digits-beta{beta}-seed{seed}",
        "variant": variant,
        "dataset": "digits",
        "seed": seed,
        "beta": beta,
        "latent_dim": 4,
        "swept": {"model.beta": beta, "seed": seed},
        "started": f"2026-11-22T08:{seed:02d}:00+00:00",
        "git": "abc",
        "versions": {"torch": "2.13.0"},
        "metrics": metrics,
        "config": {
            "seed": seed,
            "model": {"beta": beta, "objective": {"kl": {"weight": beta}}},
            "likelihood": {"_target_": "vaelab.models.Bernoulli"},
            "optimizer": {"lr": 0.001},
            "paths": {"outputs": "outputs"},
        },
        **changes,
    }


def grid(rows: int, columns: int, shade: int, size: int = 12, gap: int = 2) -> Image.Image:
    """An image grid as vaelab.figures.grids.image_grid draws it."""
    pixels = np.full((rows * (size + gap) + gap, columns * (size + gap) + gap), 128, dtype=np.uint8)
    random = np.random.default_rng(0)
    for row in range(rows):
        for column in range(columns):
            top, left = gap + row * (size + gap), gap + column * (size + gap)
            pixels[top : top + size, left : left + size] = random.integers(0, 64, (size, size)) + shade
    return Image.fromarray(pixels)


def add_pictures(folder: Path, shade: int = 100) -> None:
    (folder / "samples").mkdir()
    grid(8, 8, shade).save(folder / "samples/prior.png")
    grid(8, 8, 10).save(folder / "samples/reconstructions.png")
    grid(4, 9, shade).save(folder / "samples/traversals.png")
    halves = [("from the prior", grid(8, 8, shade)), ("from the fitted density", grid(8, 8, shade))]
    beside(halves).save(folder / "samples/density.png")
    (folder / "latents").mkdir()
    grid(2, 3, shade, size=200).save(folder / "latents/map.png")


def add_history(folder: Path, epochs: int = 5) -> None:
    lines = ["step,epoch,train/loss,val/elbo,val/rate,val/distortion"]
    lines += [f"{10 * e + 10},{e},{40 - e},{-30 + e},{1 + e},{29 - 2 * e}" for e in range(epochs)]
    (folder / "history.csv").write_text("\n".join(lines) + "\n")


def beta_sweep(seeds: int = 2) -> list[dict[str, Any]]:
    """Five betas; the best ELBO at beta 1, active units drop at beta 2 and vanish at 8."""
    rates = {0.25: 14.0, 0.5: 8.0, 1.0: 4.0, 2.0: 1.5, 8.0: 0.01}
    distortions = {0.25: 16.0, 0.5: 17.0, 1.0: 18.0, 2.0: 22.0, 8.0: 26.0}
    units = {0.25: 4.0, 0.5: 4.0, 1.0: 4.0, 2.0: 2.0, 8.0: 0.0}
    records = []
    for beta, rate in rates.items():
        for seed in range(seeds):
            record = make_record(beta, seed, rate + 0.02 * seed, distortions[beta] + 0.02 * seed)
            record["metrics"]["test/active_units"] = units[beta]
            records.append(record)
    return records

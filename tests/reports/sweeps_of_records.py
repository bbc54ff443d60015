"""Sweeps made of records alone: what a comparison reads, without any training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vaelab.figures.style import EXPLORER
from vaelab.reports.findings import findings
from vaelab.reports.per_image import PerImage
from vaelab.reports.records import as_run
from vaelab.reports.table import Table, build_table
from vaelab.runs.record import SCHEMA, write_record

KL = {"_target_": "vaelab.models.KL"}
OBJECTIVE = {"distortion": {"_target_": "vaelab.models.Distortion"}}


def make_record(
    beta: float | None = 1.0,
    seed: int = 0,
    rate: float | None = 3.0,
    distortion: float = 20.0,
    more: dict[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A finished run's record; ``rate=None`` is an autoencoder's. ``more`` are metrics of the test images."""
    elbo = None if rate is None else -(rate + distortion)
    metrics = {"rate": rate, "distortion": distortion, "elbo": elbo, "active_units": 4.0, "mse": 0.0421}
    metrics["kl_per_dim"] = [None if rate is None else rate * share for share in (0.2, 0.5, 0.3, 0.0)]
    variant = "ae" if rate is None else "beta_vae"
    return {
        "schema": SCHEMA,
        "status": "finished",
        "name": f"{variant}-digits-beta{beta}-seed{seed}",
        "variant": variant,
        "dataset": "digits",
        "seed": seed,
        "beta": beta,
        "swept": {"model.beta": beta, "seed": seed},
        "started": f"2026-11-22T08:{seed:02d}:00+00:00",
        "git": "abc",
        "metrics": {f"{split}/{name}": value for split in ("val", "test") for name, value in metrics.items()}
        | {f"test/{name}": value for name, value in (more or {}).items()},
        "config": {
            "seed": seed,
            "model": {"beta": beta, "objective": OBJECTIVE | {"kl": KL | {"weight": beta}}},
            "likelihood": {"_target_": "vaelab.models.Bernoulli"},
            "optimizer": {"lr": 0.001},
            "paths": {"outputs": f"outputs/{seed}"},
        },
        **changes,
    }


def beta_sweep(seeds: int = 2) -> list[dict[str, Any]]:
    """Five betas; the best ELBO at beta 1, active units drop at beta 2 and vanish at 8."""
    numbers = {0.25: (14, 16, 4), 0.5: (8, 17, 4), 1: (4, 18, 4), 2: (1.5, 22, 2), 8: (0.01, 26, 0)}
    return [
        make_record(beta, seed, rate + 0.02 * seed, distortion + 0.02 * seed, {"active_units": units})
        for beta, (rate, distortion, units) in numbers.items()
        for seed in range(seeds)
    ]


def table_of(*records: dict[str, Any], **options: Any) -> Table:
    """The table of records that no file holds."""
    return table_with_images(records, {}, **options)


def table_with_images(
    records: Sequence[dict[str, Any]], images: Mapping[int, Sequence[Any]], **options: Any
) -> Table:
    """The table of records, some of which have numbers of their test images.

    These are positions, rates, distortions and, if given, distortions of the constant image.
    """
    runs = [as_run(record, Path(f"sweep/{i:02d}")) for i, record in enumerate(records)]
    for i, arrays in images.items():
        order = np.argsort(arrays[0])
        runs[i] = replace(runs[i], images=PerImage(*(np.asarray(array)[order] for array in arrays)))
    return build_table(runs, **options)


def sentence(records: Sequence[dict[str, Any]], start: str, **options: Any) -> str:
    """The one finding that begins like this."""
    (found,) = [text for text in findings(table_of(*records, **options)) if text.startswith(start)]
    return found


def begins(records: Sequence[dict[str, Any]], start: str) -> bool:
    """Whether any finding begins like this."""
    return any(text.startswith(start) for text in findings(table_of(*records)))


def write_sweep(folder: Path, *records: dict[str, Any], pictures: bool = False) -> Path:
    """Write the records into the folders of a sweep, with pictures and a history if asked for."""
    for i, record in enumerate(records):
        write_record(folder / f"{i:02d}", record)
        if pictures:
            add_pictures(folder / f"{i:02d}")
            add_history(folder / f"{i:02d}")
    return folder


def image_grid(rows: int, columns: int, shade: int, size: int = 12, gap: int = 2) -> Image.Image:
    """Noise as vaelab.figures draws images: tiles of ``size`` pixels with grey lines around each."""
    noise = np.random.default_rng(0).integers(0, 64, (rows, columns, size, size), dtype=np.uint8) + shade
    tiles = np.pad(noise, ((0, 0), (0, 0), (gap, 0), (gap, 0)), constant_values=128)
    sheet = tiles.transpose(0, 2, 1, 3).reshape(rows * (size + gap), columns * (size + gap))
    return Image.fromarray(np.pad(sheet, ((0, gap), (0, gap)), constant_values=128))


SAID: dict[str, Any] = {
    "tile": [8, 8],
    "names": ["dim 7", "dim 0", "dim 3"],
    "use": [1.25, 0.75, 0.01],
    "measure": "KL",
    "values": [[-1.0, 0.5, 2.0], [-2.0, 0.0, 2.0], [-3.0, 0.0, 3.0]],
    "label": 4,
}


def explorer_picture() -> Image.Image:
    """What SAID says: 9 x 3 tiles of random pixels with a grey line around each."""
    tiles = np.random.default_rng(0).integers(0, 255, (3, 9, 8, 8), dtype=np.uint8)
    tiles = np.pad(tiles, ((0, 0), (0, 0), (1, 0), (1, 0)), constant_values=128)
    sheet = tiles.transpose(0, 2, 1, 3).reshape(27, 81)
    return Image.fromarray(np.pad(sheet, ((0, 1), (0, 1)), constant_values=128))


def add_pictures(folder: Path, shade: int = 100) -> None:
    (folder / "samples").mkdir()
    (folder / "latents").mkdir()
    image_grid(8, 8, shade).save(folder / "samples/prior.png")
    image_grid(8, 8, 10).save(folder / "samples/reconstructions.png")
    image_grid(4, 9, shade).save(folder / "samples/traversals.png")
    image_grid(8, 16, shade).save(folder / "samples/mixture.png")
    text = PngInfo()
    text.add_text(EXPLORER, json.dumps(SAID))
    explorer_picture().save(folder / "samples/explorer.png", pnginfo=text)
    image_grid(2, 3, shade, size=200).save(folder / "latents/map.png")


def add_history(folder: Path, epochs: int = 5) -> None:
    lines = ["step,epoch,train/loss,val/elbo,val/rate,val/distortion"]
    lines += [f"{10 * e + 10},{e},{40 - e},{-30 + e},{1 + e},{29 - 2 * e}" for e in range(epochs)]
    (folder / "history.csv").write_text("\n".join(lines) + "\n")

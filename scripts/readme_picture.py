"""Make the pictures in the README from what ``make demo`` left behind.

    python scripts/readme_picture.py [outputs/sweeps/demo]     (default: the newest demo)

docs/images/demo.png: one row a beta: the first held-out images and their reconstructions, then samples for
the same z ~ p(z), and the KL of every latent dimension.
docs/images/compare.png: the rate-distortion curve, as the sweep's report has it.
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch

import vaelab
from vaelab.figures.style import new_figure
from vaelab.functional.images import to_float
from vaelab.reports import compare_sweep
from vaelab.runs.find import sweep_records
from vaelab.training.assembly import build_data

DEMO, COMPARE = Path("docs/images/demo.png"), Path("docs/images/compare.png")
IMAGES = 8


def main() -> None:
    folders = sorted(Path("outputs/sweeps").glob("demo*"), key=lambda folder: folder.stat().st_mtime)
    if not folders and len(sys.argv) < 2:
        sys.exit("There is no demo yet: run make demo first.")
    sweep = Path(sys.argv[1]) if len(sys.argv) > 1 else folders[-1]
    records = [record for record in sweep_records(sweep) if record["status"] == "finished"]
    DEMO.parent.mkdir(parents=True, exist_ok=True)
    draw(records).savefig(DEMO, facecolor="white")
    compare_sweep(sweep)
    shutil.copyfile(sweep / "report" / "rate-distortion.png", COMPARE)
    print(f"{DEMO} and {COMPARE}, from {sweep}")


def strip(images: torch.Tensor) -> np.ndarray:
    """(N, 1, H, W) side by side, with a gap."""
    padded = torch.nn.functional.pad(images[:, 0].cpu(), (0, 1, 0, 0), value=1.0)
    return torch.cat(list(padded), dim=1)[:, :-1].numpy()


def draw(records: list[dict]):  # type: ignore[no-untyped-def]
    """The figure: four columns, a row a run."""
    from omegaconf import OmegaConf

    data = build_data(OmegaConf.create(records[0]["config"]))
    x = to_float(data.held_out.x[torch.arange(IMAGES)])
    top = max(max(record["metrics"]["test/kl_per_dim"]) for record in records)
    figure = new_figure(11.0, 0.85 * len(records) + 0.5)
    axes = figure.subplots(len(records), 4, width_ratios=[1.1, 3, 3, 1.8])
    for row, record in zip(axes, records, strict=True):
        model = vaelab.load(record["folder"]).model
        metrics = record["metrics"]
        label = (
            f"β = {record['beta']:g}\nrate {metrics['test/rate']:.1f}, distortion "
            f"{metrics['test/distortion']:.1f}\n{metrics['test/active_units']:.0f} active units"
        )
        row[0].text(0, 0.5, label, va="center", fontsize=8)
        pairs = np.concatenate([strip(x), np.ones((1, strip(x).shape[1])), strip(model.reconstruct(x))])
        row[1].imshow(pairs, cmap="gray", vmin=0, vmax=1)
        samples = model.sample(2 * IMAGES)
        row[2].imshow(
            np.concatenate(
                [strip(samples[:IMAGES]), np.ones((1, strip(x).shape[1])), strip(samples[IMAGES:])]
            ),
            cmap="gray",
            vmin=0,
            vmax=1,
        )
        kl = sorted(metrics["test/kl_per_dim"], reverse=True)
        row[3].bar(range(len(kl)), kl, color="#3b6ea8")
        row[3].set(ylim=(0, top), xticks=[])
        row[3].tick_params(labelsize=7)
        row[3].spines[["top", "right"]].set_visible(False)
        for axis in row[:3]:
            axis.axis("off")
    titles = ["", "held-out images, reconstructions below", "samples, same z in every row"]
    for axis, title in zip(axes[0], [*titles, "KL per dimension (nats)"], strict=True):
        axis.set_title(title, fontsize=9)
    return figure


if __name__ == "__main__":
    main()

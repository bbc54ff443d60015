"""Draw the pictures of the README from the sweep that ``make demo`` left behind.

    python scripts/readme_picture.py [outputs/sweeps/demo]     (default: the newest sweep)

docs/images/demo.png has a row for each beta: random held-out images above their reconstructions, samples
for the same z ~ p(z), and the KL of every latent dimension. docs/images/compare.png is the rate-distortion
curve of the sweep's report.
"""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import torch
from omegaconf import OmegaConf

import vaelab
from vaelab.figures.grids import image_grid
from vaelab.figures.style import SERIES, new_figure, style_axes
from vaelab.functional.images import to_float
from vaelab.reports import compare_sweep
from vaelab.runs.find import find_all, sweep_records
from vaelab.training.assembly import build_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = 8
PICTURES = Path("docs/images")


def main() -> None:
    (sweep,) = find_all(sys.argv[1:], Path("outputs"))
    records = [record for record in sweep_records(sweep) if record["status"] == "finished"]
    PICTURES.mkdir(parents=True, exist_ok=True)
    draw(records).savefig(PICTURES / "demo.png")
    compare_sweep(sweep)
    shutil.copyfile(sweep / "report" / "rate-distortion.png", PICTURES / "compare.png")
    print(f"{PICTURES}/demo.png and compare.png, from {sweep}")


def draw(records: list[dict[str, Any]]) -> "Figure":
    """Four columns, a row for each run."""
    data = build_data(OmegaConf.create(records[0]["config"]))
    x = to_float(data.held_out.x[torch.arange(IMAGES)])
    highest = max(max(record["metrics"]["test/kl_per_dim"]) for record in records)
    figure = new_figure(11.0, 0.85 * len(records) + 0.5)
    axes = figure.subplots(len(records), 4, squeeze=False, width_ratios=[1.1, 3, 3, 1.8])
    for (text, pairs, samples, bars), record in zip(axes, records, strict=True):
        model, metrics = vaelab.load(record["folder"]), record["metrics"]
        label = (
            f"β = {record['beta']:g}\nrate {metrics['test/rate']:.1f}, distortion "
            f"{metrics['test/distortion']:.1f}\n{metrics['test/active_units']:.0f} active units"
        )
        text.text(0, 0.5, label, va="center", fontsize=8)
        pairs.imshow(image_grid(torch.stack([x, model.reconstruct(x).cpu()])), cmap="gray")
        samples.imshow(image_grid(model.sample(2 * IMAGES).cpu().unflatten(0, (2, IMAGES))), cmap="gray")
        kl = sorted(metrics["test/kl_per_dim"], reverse=True)
        bars.bar(range(len(kl)), kl, color=SERIES[0])
        style_axes(bars)
        bars.set(ylim=(0, highest), xticks=[])
        for axis in (text, pairs, samples):
            axis.axis("off")
    titles = ["", "held-out images, reconstructions below", "samples, same z in every row"]
    for axis, title in zip(axes[0], [*titles, "KL per dimension (nats)"], strict=True):
        axis.set_title(title, fontsize=9)
    return figure


if __name__ == "__main__":
    main()

"""A picture for each question: functions from runs, by swept value, and their numbers to a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelab.evaluation.noise_gap import code_noise
from vaelab.evaluation.trained_run import TrainedRun
from vaelab.figures.generation import traversals
from vaelab.figures.style import INK, MARKERS, MUTED, SERIES, new_figure, style_axes
from vaelab.functional.holes import distance_threshold, matched_draws, nearest_distance
from vaelab.functional.randomness import generator

Runs = Mapping[str, TrainedRun]
Values = Mapping[str, Mapping[str, Any]]  # run -> metric -> number

NAMES = {
    "ae": "autoencoder", "denoising_ae": "denoising\nautoencoder", "vae": "VAE", "annealed_vae": "warm-up",
    "free_bits_vae": "free bits", "target_rate_vae": "target rate",
}  # fmt: skip
BLUE, ORANGE = SERIES[0], SERIES[1]


def strip(images: Tensor, rows: int = 1) -> np.ndarray[Any, Any]:
    """(N, 1, H, W) -> ``rows`` rows side by side, with white gaps."""
    padded = torch.nn.functional.pad(images[:, 0].detach().cpu(), (0, 1, 0, 1), value=1.0)
    lines = padded.unflatten(0, (rows, -1))
    return torch.cat([torch.cat(list(line), dim=1) for line in lines])[:-1, :-1].numpy()


def sheet(rows: Sequence[tuple[str, Sequence[np.ndarray[Any, Any]]]], titles: Sequence[str]) -> Any:
    """A figure with a label and pictures in each row and a title over each column, on one scale."""
    heights = [max(picture.shape[0] for picture in pictures) for _, pictures in rows]
    widths = [max(pictures[i].shape[1] for _, pictures in rows) for i in range(len(titles))]
    unit = 7.2 / sum(widths)
    figure = new_figure(9.0, unit * sum(heights) + 0.05 * len(rows) + 0.3)
    axes = figure.subplots(
        len(rows), len(titles) + 1, width_ratios=[1.5 / unit, *widths], height_ratios=heights, squeeze=False
    )
    for line, (label, pictures) in zip(axes, rows, strict=True):
        line[0].text(0, 0.5, label, va="center", fontsize=8.5, color=INK, transform=line[0].transAxes)
        for axis, picture in zip(line[1:], pictures, strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        for axis in line:
            axis.axis("off")
    for axis, title in zip(axes[0, 1:], titles, strict=True):
        axis.set_title(title, fontsize=8.5, color=INK)
    return figure


def samples_and_reconstructions(runs: Runs, labels: Mapping[str, str]) -> Any:
    x = next(iter(runs.values())).images("test", 8)
    rows = []
    for key, run in runs.items():
        pairs = strip(torch.cat([x, run.model.reconstruct(x)]), 2)
        rows.append((labels[key], [pairs, strip(run.model.sample(24), 2)]))
    return sheet(rows, ["test images, reconstructions below", "decoded draws from the prior, same noise"])


def sampling(runs: Runs, values: Values) -> Any:
    labels = {key: f"{NAMES[key]}\nhole rate {values[key]['hole_rate']:.2f}" for key in runs}
    return samples_and_reconstructions(runs, labels)


def kl_weight(runs: Runs, values: Values) -> Any:
    labels = {
        key: f"β = {key}\nrate {values[key]['rate']:.1f}\ndistortion {values[key]['distortion']:.1f}"
        for key in runs
    }
    return samples_and_reconstructions(runs, labels)


def holes(runs: Runs, values: Values) -> Any:
    """The plane of codes with draws of a Gaussian over it, and some of those decoded, by their colour."""
    shown, decoded = 2000, 14
    figure = new_figure(9.0, 5.4)
    axes = figure.subplots(2, len(runs), height_ratios=[4, 1.2], squeeze=False)
    for i, (key, run) in enumerate(runs.items()):
        z = run.codes("test").z
        noise = torch.randn(shown, 2, generator=generator(0, "lecture holes"))
        drawn = matched_draws(z, noise)  # an autoencoder's codes have a scale of their own
        hole = nearest_distance(drawn, z) > distance_threshold(z)
        plane = axes[0, i]
        plane.scatter(*drawn[~hole].T, s=3, color=BLUE, alpha=0.5, linewidths=0, label="draw near a code")
        plane.scatter(*drawn[hole].T, s=4, color=ORANGE, alpha=0.8, linewidths=0, label="draw in a hole")
        plane.scatter(*z.T, s=5, color=INK, linewidths=0, label="code of a test image")
        style_axes(plane, xlabel="z₁", ylabel="z₂")
        plane.set_title(
            f"{NAMES[key]}: hole rate of the fitted Gaussian {values[key]['hole_rate_matched']:.3f}",
            fontsize=9, color=INK,
        )  # fmt: skip
        plane.set_aspect("equal", adjustable="datalim")
        # of each kind in turn, so that both are seen
        order = torch.cat([hole.nonzero()[: decoded // 2, 0], (~hole).nonzero()[: decoded // 2, 0]])
        pictures = run.model.decode(drawn[order])
        axes[1, i].imshow(strip(pictures, 2), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        for place, colour in ((0.75, ORANGE), (0.25, BLUE)):
            axes[1, i].text(
                -0.02, place, "●", color=colour, ha="right", va="center", transform=axes[1, i].transAxes
            )
        axes[1, i].axis("off")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=3, fontsize=8, frameon=False, markerscale=2.5
    )
    return figure


def noisy_codes(runs: Runs, values: Values) -> Any:
    x = next(iter(runs.values())).images("test", 8)
    share = torch.linspace(0, 1, 9)[:, None]
    rows = []
    for key, run in runs.items():
        loc, z = run.codes("test").loc, run.codes("test").z
        paths = torch.cat([torch.lerp(loc[i], loc[i + 1], share) for i in (0, 2)])
        shaken = torch.cat([z[i] + code_noise(run.codes("test"), 0.5, 8)[i] for i in (0, 2)])
        ends = torch.stack([x[0], x[2]])
        row = strip(torch.stack([*run.model.decode(shaken)]), 2)
        whole = np.concatenate([strip(ends, 2), np.ones((row.shape[0], 3)), row], axis=1)
        found = values[key]
        label = (
            f"{NAMES[key]}\nnoise costs {found['noise_gap']:.1f} nats,\n"
            f"{found['noise_gap_share']:.0%} of another code"
        )
        rows.append((label, [whole, strip(run.model.decode(paths), 2)]))
    return sheet(rows, ["a test image, its code shaken 8 times", "from one image's code to another's"])


def raising_beta(runs: Runs, values: Values) -> Any:
    figure = new_figure(9.0, 3.6)
    plane, bars = figure.subplots(1, 2)
    rates = [values[key]["rate"] for key in runs]
    distortions = [values[key]["distortion"] for key in runs]
    constant = values[next(iter(runs))]["constant_distortion"]
    low, high = min(r + d for r, d in zip(rates, distortions, strict=True)), max(constant, *distortions)
    span = [-0.03 * max(rates), max(rates) * 1.06]
    for level in range(int(low), int(high) + 12, 2):
        plane.plot(span, [level - rate for rate in span], ":", color=MUTED, linewidth=0.8)
    plane.plot(rates, distortions, f"{MARKERS[0]}-", color=BLUE, linewidth=1.4)
    for key, rate, distortion in zip(runs, rates, distortions, strict=True):
        plane.annotate(
            f"β {key}", (rate, distortion), (6, 3), textcoords="offset points", fontsize=7.5, color=INK
        )
    plane.plot([0], [constant], "*", color=ORANGE, markerfacecolor="none", markersize=15, zorder=3)
    plane.annotate(
        f"constant image, {constant:.2f}", (0, constant), (46, -3), textcoords="offset points", fontsize=7.5,
        color=INK, arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.8},
    )  # fmt: skip
    plane.set_xlim(span)
    plane.set_ylim(min(distortions) - 1, high + 1)
    style_axes(
        plane, xlabel="rate, nats per image", ylabel="distortion, nats per image",
        title="dotted: the same ELBO along each line",
    )  # fmt: skip
    for i, (key, run) in enumerate(runs.items()):
        per_dimension = sorted(run.record["metrics"]["test/kl_per_dim"], reverse=True)
        bars.plot(
            range(1, len(per_dimension) + 1), per_dimension, f"{MARKERS[i % len(MARKERS)]}-",
            color=SERIES[i % len(SERIES)], markersize=4, linewidth=1.1, label=f"β {key}",
        )  # fmt: skip
    style_axes(bars, xlabel="latent dimension, sorted", ylabel="KL, nats per image", title="KL per dimension")
    bars.set_ylim(top=1.3 * bars.get_ylim()[1])  # room for the legend
    bars.legend(fontsize=7.5, frameon=False, ncols=3, loc="upper right")
    return figure


def reparametrisation(runs: Runs, values: Values) -> Any:
    figure = new_figure(6.2, 3.4)
    axes = figure.subplots()
    series = {
        "score function": "gradient_variance_score",
        "score function, with a baseline": "gradient_variance_score_baseline",
        "reparametrised": "gradient_variance_reparametrised",
    }
    for i, (name, metric) in enumerate(series.items()):
        axes.loglog(
            [int(key) for key in runs], [values[key][metric] for key in runs], f"{MARKERS[i]}-",
            color=SERIES[(1, 3, 0)[i]], label=name,
        )  # fmt: skip
    axes.set_xticks([int(key) for key in runs], list(runs), minor=False)
    axes.minorticks_off()
    style_axes(axes, xlabel="latent dimensions", ylabel="variance of the gradient, nats²")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def smooth_paths(runs: Runs, values: Values) -> Any:
    panels = {
        "hole_rate": "hole rate",
        "images_per_code": "images that share a code",
        "noise_gap_share": "cost of noise on z, as a\nshare of another code's",
        "path_length_linear": "path length",
    }
    figure = new_figure(9.0, 2.6)
    betas = [float(key) for key in runs]
    for i, (metric, name) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1)
        axes.semilogx(
            betas, [values[key][metric] for key in runs], f"{MARKERS[0]}-", color=SERIES[i], markersize=4
        )
        axes.set_ylim(0, 1.06 * axes.get_ylim()[1])
        style_axes(axes, xlabel="β", title=name)
    return figure


def collapse(runs: Runs, values: Values) -> Any:
    """Reconstructions, and what the decoder makes of the codes of other images. Of the first seed."""
    first = next(iter(runs.values()))
    x = first.images("test", 10)
    rows: list[tuple[str, Sequence[np.ndarray[Any, Any]]]] = [("test images", [strip(x), strip(x)])]
    for key, run in runs.items():
        if key.startswith("torch-"):  # other first weights
            continue
        model, _, beta = key.partition("-")
        loc = run.codes("test").loc[:10]
        own, other = run.model.decode(loc), run.model.decode(loc.roll(1, 0))
        metrics = run.record["metrics"]
        label = (
            f"{NAMES[model]}, β = {beta}: {run.record['verdict']['label']}\n"
            f"rate {metrics['test/rate']:.1f}, gap {metrics['test/shuffle_gap']:.1f}"
        )
        rows.append((label, [strip(own), strip(other)]))
    return sheet(rows, ["decoded from its own code", "decoded from the code of the image to its left"])


def factors(runs: Runs, values: Values) -> Any:
    """Traversals of the dimensions in use, and below which dimension tells of which factor."""
    figure = new_figure(9.0, 2.9)
    axes = figure.subplots(1, len(runs), squeeze=False)[0]
    for axis, (key, run) in zip(axes, runs.items(), strict=True):
        pictures = traversals(run.model, run.images("test", 500), steps=7, dimensions=6).images[:, 0]
        axis.imshow(
            strip(pictures.flatten(0, 1), len(pictures)), cmap="gray", vmin=0, vmax=1,
            interpolation="nearest",
        )  # fmt: skip
        axis.set_title(f"β = {key}: MIG {values[key]['mig']:.2f}", fontsize=9, color=INK)
        axis.axis("off")
    return figure


PICTURES = {
    "sampling": sampling, "holes": holes, "noisy_codes": noisy_codes, "kl_weight": kl_weight,
    "raising_beta": raising_beta, "reparametrisation": reparametrisation, "smooth_paths": smooth_paths,
    "collapse": collapse, "factors": factors,
}  # fmt: skip

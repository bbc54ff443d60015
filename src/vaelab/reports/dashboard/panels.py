"""What a dashboard shows of a sweep: W&B panels by section, named by the keys that vaelab logs.

What a run has once (beta, the test metrics) is plotted across runs; what it logs during training is plotted
over ``trainer/global_step``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import wandb_workspaces.reports.v2 as wr

from vaelab.reports.dashboard.sweep_run import PREFIX
from vaelab.reports.plots import PLOTS
from vaelab.reports.sheets import SHEETS

__all__ = [
    "COMPARISON_PICTURES",
    "COMPARISON_TABLE",
    "ELBO",
    "STEP",
    "Part",
    "comparison",
    "place_panels",
    "training_parts",
]

STEP = "trainer/global_step"
BETA, LATENT_DIM = wr.Config("beta"), wr.Config("latent_dim")
RATE, DISTORTION, ELBO, UNITS = (
    wr.SummaryMetric(f"test/{name}") for name in ("rate", "distortion", "elbo", "active_units")
)
KL_DIMENSIONS = "val/kl/(dim|channel)_.*"  # a regular expression
KL_HISTOGRAM = "val/kl_histogram"  # bin = dimension, height = KL; W&B draws a heat map over steps
PICTURES = tuple(sheet.file.removesuffix(".png") for sheet in SHEETS)  # every job of a sweep draws these
CURVES = ("train/loss", "val/objective", "val/elbo", "val/rate", "val/distortion")

COMPARISON_TABLE = f"{PREFIX}/table"
COMPARISON_PICTURES = tuple(f"{PREFIX}/{picture.name}" for picture in (*PLOTS, *SHEETS))

WIDTH, HEIGHT = 24, 8  # of a report, and of a panel in it, in units of W&B's grid


@dataclass(frozen=True)
class Part:
    """Panels under a heading, ``columns`` to a row, with a text on how to read them."""

    title: str
    text: str
    columns: int
    panels: Sequence[Any]


def training_parts() -> list[Part]:
    """The parts about training runs, in order; new panels at each call, since a page sets their places."""
    axes = [wr.ParallelCoordinatesPlotColumn(metric=BETA, log=True)]
    axes += [
        wr.ParallelCoordinatesPlotColumn(metric=metric)
        for metric in (LATENT_DIM, RATE, DISTORTION, ELBO, UNITS)
    ]
    return [
        Part(
            "Rate and distortion",
            "Each point is a run, coloured by its β. Down and to the left is better: the ELBO is "
            "−(rate + distortion), in nats per image, on test images.",
            3,
            [
                wr.ScatterPlot(title="Rate and distortion", x=RATE, y=DISTORTION, z=BETA, log_z=True),
                against_beta("Active units", UNITS),
                against_beta("ELBO", ELBO),
            ],
        ),
        Part(
            "Latent health",
            "Mutual information: what a code says about its image, at most the rate. Aggregate KL: how far "
            "all codes together are from the prior. Of these two a lower and an upper bound are known; the "
            "truth lies between. Hole rate: the share of prior samples where there are no codes, about 0.01"
            " (hole_rate_null) if there are no holes; in hundreds of dimensions, as of a latent map, it is "
            "low with holes too. Shuffle gap: how many nats the decoder loses with another image's code, 0 "
            "if it ignores z.",
            2,
            [
                against_beta("Mutual information, at least", wr.SummaryMetric("test/mutual_information_low")),
                against_beta("Mutual information, at most", wr.SummaryMetric("test/mutual_information_high")),
                against_beta("Aggregate KL, at least", wr.SummaryMetric("test/aggregate_kl_low")),
                against_beta("Aggregate KL, at most", wr.SummaryMetric("test/aggregate_kl_high")),
                against_beta("Hole rate", wr.SummaryMetric("test/hole_rate")),
                against_beta("Shuffle gap", wr.SummaryMetric("test/shuffle_gap")),
            ],
        ),
        Part(
            "KL per dimension",
            "A dimension whose KL stays at 0 is not used. The sum over the dimensions is the rate. "
            "Latent maps have their channels, and their dimensions only up to 100.",
            2,
            [
                wr.LinePlot(title="KL of each dimension", x=STEP, metric_regex=KL_DIMENSIONS),
                wr.LinePlot(title="KL by dimension over training", x=STEP, y=[KL_HISTOGRAM]),
            ],
        ),
        Part(
            "Samples",
            "One row per run, by ascending β; one column for each time the samples were drawn.",
            2,
            [pictures(key) for key in PICTURES if key.startswith("samples/")],
        ),
        Part(
            "Latent space",
            "The codes of the same held-out images, coloured by label or factor: the latent plane, or the "
            "codes' first two principal components.",
            1,
            [pictures(key) for key in PICTURES if key.startswith("latents/")],
        ),
        Part(
            "Across runs",
            "Each run as a line through its settings and results; below, the settings that differ.",
            1,
            [
                wr.ParallelCoordinatesPlot(title="Settings and results", columns=axes),
                wr.RunComparer(diff_only="split"),
            ],
        ),
        Part(
            "Training",
            "Over the steps of training; in nats per image. val/objective is what the run itself minimises: "
            "it chooses the weights within a run, and is another quantity for another β.",
            2,
            [wr.LinePlot(title=key, x=STEP, y=[key]) for key in CURVES],
        ),
    ]


def comparison() -> Part:
    """The part about the summary run of a sweep."""
    return Part(
        "The sweep's comparison",
        "The results of vaelab-compare when the sweep ended: one row per configuration, mean over seeds.",
        2,
        [wr.WeavePanelSummaryTable(table_name=COMPARISON_TABLE), *map(pictures, COMPARISON_PICTURES)],
    )


def against_beta(title: str, metric: wr.SummaryMetric) -> wr.ScatterPlot:
    return wr.ScatterPlot(title=f"{title} against β", x=BETA, y=metric, log_x=True)


def pictures(key: str) -> wr.MediaBrowser:
    """The pictures under one key, one row per run."""
    return wr.MediaBrowser(title=key, media_keys=[key], mode="grid", grid_x_axis="step", grid_y_axis="run")


def place_panels(part: Part) -> list[Any]:
    """The part's panels with their places in the grid of a report."""
    width = WIDTH // part.columns
    for i, panel in enumerate(part.panels):
        row, column = divmod(i, part.columns)
        panel.layout = wr.Layout(x=column * width, y=row * HEIGHT, w=width, h=HEIGHT)
    return list(part.panels)

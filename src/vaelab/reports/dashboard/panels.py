"""What a dashboard shows of a sweep: W&B panels by section, in terms of the keys that vaelab logs.

What is known of a run once (beta, the test metrics) is plotted across runs; what is logged on the way is
plotted over ``trainer/global_step``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import wandb_workspaces.reports.v2 as wr

STEP = "trainer/global_step"
BETA, LATENT_DIM = wr.Config("beta"), wr.Config("latent_dim")
RATE, DISTORTION, ELBO, UNITS = (
    wr.SummaryMetric(f"test/{name}") for name in ("rate", "distortion", "elbo", "active_units")
)
KL_DIMENSIONS = "val/kl/dim_.*"  # a regular expression
KL_HISTOGRAM = "val/kl_histogram"  # bin = dimension, height = KL: drawn as a heat map over steps
KL_PICTURES = ("latents/kl_per_dim", "latents/kl_over_training")
SAMPLES = (
    "samples/prior",
    "samples/density",  # at the end alone, as arithmetic and the moving traversals
    "samples/reconstructions",
    "samples/traversals",
    "samples/traversals_animated",
    "samples/interpolations",
    "samples/interpolations_spherical",
    "samples/arithmetic",  # of data with labels or factors
)
MAP = "latents/map"
CURVES = ("train/loss", "val/elbo", "val/rate", "val/distortion")

COMPARISON = "comparison"  # the prefix of what a sweep's summary run logs
COMPARISON_TABLE = f"{COMPARISON}/table"
# the figures and contact sheets of vaelab-compare; a sweep need not have all of them
COMPARISON_PICTURES = tuple(
    f"{COMPARISON}/{name}"
    for name in (
        "rate-distortion",
        "against-beta",
        "kl-per-dimension",
        "training-curves",
        "contact-prior",
        "contact-density",
        "contact-reconstructions",
        "contact-traversals",
        "contact-maps",
    )
)

WIDTH, HEIGHT = 24, 8  # of a report, and of a panel in it, in units of W&B's grid


@dataclass(frozen=True)
class Part:
    """Panels under a heading, so many to a row, with a sentence on how to read them."""

    title: str
    text: str
    columns: int
    panels: Sequence[Any]


def rate_distortion() -> Part:
    return Part(
        "Rate and distortion",
        "Each point is a run, coloured by its β. Down and to the left is better: the ELBO is "
        "−(rate + distortion), in nats per image, on test images.",
        3,
        [
            wr.ScatterPlot(title="Rate and distortion", x=RATE, y=DISTORTION, z=BETA, log_z=True),
            wr.ScatterPlot(title="Active units against β", x=BETA, y=UNITS, log_x=True),
            wr.ScatterPlot(title="ELBO against β", x=BETA, y=ELBO, log_x=True),
        ],
    )


def latent_health() -> Part:
    plots = {
        "Mutual information against β": "mutual_information",
        "Hole rate against β": "hole_rate",
        "What another image's code costs, against β": "shuffle_gap",
    }
    return Part(
        "Latent health",
        "What a code says about its image, at most the rate; the share of prior samples where no code lies, "
        "0.01 being none; by how many nats the decoder does worse with another image's code, nothing if it "
        "ignores z.",
        3,
        [
            wr.ScatterPlot(title=title, x=BETA, y=wr.SummaryMetric(f"test/{name}"), log_x=True)
            for title, name in plots.items()
        ],
    )


def kl_per_dimension() -> Part:
    return Part(
        "KL per dimension",
        "A dimension whose KL stays at 0 is not used. The sum over the dimensions is the rate.",
        2,
        [
            wr.LinePlot(title="KL of each dimension", x=STEP, metric_regex=KL_DIMENSIONS),
            wr.LinePlot(title="KL by dimension over training", x=STEP, y=[KL_HISTOGRAM]),
            *map(pictures, KL_PICTURES),
        ],
    )


def samples() -> Part:
    return Part(
        "Samples",
        "A row for each run, by ascending β; a column for each time they were drawn.",
        2,
        [pictures(key) for key in SAMPLES],
    )


def latent_space() -> Part:
    return Part(
        "Latent space",
        "The codes of the same held-out images, coloured by what is known of them: the latent plane, or the "
        "codes' first two principal components.",
        1,
        [pictures(MAP)],
    )


def across_runs() -> Part:
    axes = [
        wr.ParallelCoordinatesPlotColumn(metric=BETA, log=True),
        *(
            wr.ParallelCoordinatesPlotColumn(metric=metric)
            for metric in (LATENT_DIM, RATE, DISTORTION, ELBO, UNITS)
        ),
    ]
    return Part(
        "Across runs",
        "Each run as a line through its settings and results; then what the runs differ in.",
        1,
        [
            wr.ParallelCoordinatesPlot(title="Settings and results", columns=axes),
            wr.RunComparer(diff_only="split"),
        ],
    )


def training() -> Part:
    plots = [wr.LinePlot(title=key, x=STEP, y=[key]) for key in CURVES]
    return Part("Training", "Over the steps of training; in nats per image.", 2, plots)


def comparison() -> Part:
    """What the summary run of a sweep carries, and no other run."""
    return Part(
        "The sweep's comparison",
        "What vaelab-compare found when the sweep ended; seeds are folded into one row a configuration.",
        2,
        [
            wr.WeavePanelSummaryTable(table_name=COMPARISON_TABLE),
            *map(pictures, COMPARISON_PICTURES),
        ],
    )


def of_runs() -> list[Part]:
    """The parts about training runs, in their order."""
    return [
        rate_distortion(),
        latent_health(),
        kl_per_dimension(),
        samples(),
        latent_space(),
        across_runs(),
        training(),
    ]


def pictures(key: str) -> wr.MediaBrowser:
    """The pictures under one key, a row for each run."""
    return wr.MediaBrowser(title=key, media_keys=[key], mode="grid", grid_x_axis="step", grid_y_axis="run")


def laid_out(part: Part) -> list[Any]:
    """The part's panels, placed in the grid of a report."""
    width = WIDTH // part.columns
    for i, panel in enumerate(part.panels):
        row, column = divmod(i, part.columns)
        panel.layout = wr.Layout(x=column * width, y=row * HEIGHT, w=width, h=HEIGHT)
    return list(part.panels)

"""The pictures of a run, as functions of a model and images or codes.

Callbacks call these functions and publish their results.
"""

import json
from collections.abc import Mapping, Sequence
from math import prod

from PIL import Image
from torch import Tensor

from vaelab.figures import generation
from vaelab.figures.attributes import attributes
from vaelab.figures.code_maps import code_maps
from vaelab.figures.grids import animation, beside, image_grid, with_labels
from vaelab.figures.plots import figure_image, latent_map
from vaelab.figures.style import EXPLORER
from vaelab.functional.mixtures import fit_gaussian_mixture
from vaelab.functional.projection import project
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import Codes
from vaelab.models.priors import Prior, StandardNormal

__all__ = [
    "arithmetic",
    "code_samples",
    "codes_map",
    "explorer",
    "manifold",
    "mixture_samples",
    "moving_traversals",
    "sample_grids",
]

WIDTH = 800  # pixels, at least
COLUMNS = 8
LAYERS_CAPTION = (
    "What each group of latents adds: held-out images, their reconstructions and samples from the prior, "
    "with the groups that a row does not name at the mean of their prior given the groups above."
)
CODES_CAPTION = (
    "Held-out images, the codes of their places, and reconstructions. Red, green and blue are the first "
    "three principal components of the codes in a row: places of one colour have the same or similar codes."
)
Range = tuple[float, float]  # the pixel values drawn as black and as white


def sample_grids(
    model: Autoencoder,
    x: Tensor,
    y: Tensor | None,
    value_range: Range,
    shown: int = 32,
    interpolations: bool = True,
) -> dict[str, Image.Image]:
    """Image grids of samples z ~ p(z) and of held-out images x (N, C, H, W), by name, labelled.

    ``prior``, ``reconstructions``, ``traversals`` and, unless left out, ``interpolations`` (straight lines
    between codes) and ``interpolations_spherical``. Ranges of traversals are estimated from all of x; other
    pictures show the first ``shown`` images. A single image has no interpolations. y (N,): labels of a
    conditional model. ``layers`` of a hierarchy whose prior is N(0, I) shows what each group adds, ``codes``
    of a model with codes on maps where they lie.
    """
    first, labels = x[:shown], None if y is None else y[:shown]
    few = first[:COLUMNS], None if labels is None else labels[:COLUMNS]
    moved = generation.traversals(model, x, y=y)
    pairs = generation.reconstructions(model, first, labels)
    between = (
        "Left and right end: reconstructions of two held-out images. Between them: decodings along {} "
        "between their codes."
    )
    drawn: dict[str, tuple[Tensor, list[str], str]] = {
        "prior": (generation.prior_samples(model), [], "Samples: mean images of z ~ p(z)."),
        "reconstructions": (
            pairs, ["original", "reconstruction"] * (len(pairs) // 2),
            "Held-out images, and below each its reconstruction from the posterior mean.",
        ),
        "traversals": (moved.images[:, 0], row_labels(moved), traversal_caption(moved, len(x))),
    }  # fmt: skip
    if model.posterior.groups and isinstance(model.prior, StandardNormal):
        drawn["layers"] = *generation.layers(model, *few), LAYERS_CAPTION
    if prod(model.posterior.code_shape[1:]) > 1:
        drawn["codes"] = *code_maps(model, *few, *value_range), CODES_CAPTION
    if interpolations:
        for name, spherical, path in (
            ("interpolations", False, "straight lines"),
            ("interpolations_spherical", True, "great circles"),
        ):
            steps = generation.interpolations(model, first, y=labels, spherical=spherical)
            drawn[name] = steps, [], between.format(path)
    return {
        name: with_labels(image_grid(grid, *value_range), rows, caption, WIDTH)
        for name, (grid, rows, caption) in drawn.items()
        if len(grid)
    }


def row_labels(moved: generation.Traversals) -> list[str]:
    """``dim 3, KL 1.21`` and below it ``-2.10 to 2.30``: how much the dimension is used, and both ends."""
    return [
        f"{name}, {moved.measure} {use:.2f}\n{low:.2f} to {high:.2f}"
        for name, use, low, high in zip(moved.names, moved.use.tolist(), *moved.ends.tolist(), strict=True)
    ]


def traversal_caption(moved: generation.Traversals, images: int) -> str:
    measure = "its KL in nats" if moved.measure == "KL" else "the variance of its posterior mean"
    return (
        "Decodings of a held-out image's code while one dimension moves from the 1% quantile of its "
        "aggregate posterior (left) to the 99% quantile (right). At the left: the dimension's number, or "
        f"a map's channel, row and column (the first is 0), {measure} over {images} images, and both ends."
    )


def moving_traversals(model: Autoencoder, x: Tensor, y: Tensor | None, value_range: Range) -> bytes:
    """An endless GIF of the traversals of the first images, a row per dimension, back and forth."""
    moved = generation.traversals(model, x, y=y, starts=5)
    labels = row_labels(moved)
    forth = [with_labels(image_grid(frame, *value_range), labels) for frame in moved.images.movedim(2, 0)]
    return animation(forth + forth[-2:0:-1])


WAYS = ("to the right within a block", "downwards", "from block to block")  # along which a dimension grows


def explorer(model: Autoencoder, x: Tensor, y: Tensor | None, value_range: Range) -> Image.Image | None:
    """The tiles of :func:`~vaelab.figures.generation.exploration`, from which a report makes sliders.

    Its ``info`` says which z each tile is decoded from (``vaelab.figures.style.EXPLORER``).
    """
    shown = generation.exploration(model, x, y)
    if shown is None:
        return None
    tiles = shown.images
    for axis in range(len(shown.dimensions), len(WAYS)):
        tiles = tiles.unsqueeze(axis)
    sheet = image_grid(tiles.permute(1, 2, 0, 3, 4, 5).flatten(1, 2), *value_range, gap=1, zoom=1)
    unit = " nats" if shown.measure == "KL" else ""
    axes = [
        f"{name} ({shown.measure} {use:.2f}{unit}) from {low:.2f} to {high:.2f} {way}"
        for name, use, low, high, way in zip(
            shown.names, shown.use.tolist(), *shown.values[:, [0, -1]].T.tolist(), WAYS,
            strict=False,
        )
    ]  # fmt: skip
    caption = (
        f"Decodings of z on a grid over the most used dimensions: {'; '.join(axes)}. These are the 1% and "
        f"99% quantiles of the aggregate posterior over {len(x)} held-out images; the other dimensions are "
        "at its mean. The report of a comparison has sliders for them."
    )
    picture = with_labels(sheet, caption=caption, width=WIDTH)
    picture.info[EXPLORER] = json.dumps(
        {
            "tile": list(shown.images.shape[:-3:-1]),
            "names": shown.names,
            "use": significant(shown.use),
            "measure": shown.measure,
            "values": [significant(values) for values in shown.values],
            "label": shown.label,
        }
    )
    return picture


def significant(values: Tensor) -> list[float]:
    """The numbers (N,) with four significant digits."""
    return [float(f"{value:.4g}") for value in values.tolist()]


def arithmetic(
    model: Autoencoder, codes: Codes, factor_names: Sequence[str], value_range: Range
) -> Image.Image | None:
    """Images from one class to the next along the difference of mean codes; None without two classes."""
    shown = generation.arithmetic(model, codes, factor_names)
    if shown is None:
        return None
    caption = (
        f"By {shown.attribute}: decodings of z + t (mean code of the second class - mean code of the first), "
        "for an image of the first class with code z; t goes from 0 (left) to 1 (right)."
    )
    return with_labels(image_grid(shown.images, *value_range), shown.moves, caption, WIDTH)


def mixture_samples(
    model: Autoencoder, codes: Codes, value_range: Range, components: int = 10
) -> Image.Image | None:
    """Samples of the prior beside samples of a mixture fitted to codes; None for fewer than two codes."""
    if len(codes.z) < 2:
        return None
    mixture = fit_gaussian_mixture(codes.z, components)
    images = {
        "from the prior": generation.prior_samples(model),
        "from the fitted mixture": generation.mixture_images(model, mixture, 64).unflatten(0, (8, 8)),
    }
    caption = (
        f"Mean images of z ~ p(z), and of z from a mixture of {components} Gaussians fitted to the codes of "
        f"{len(codes.z):,} training images."
    )
    return beside([(label, image_grid(grid, *value_range)) for label, grid in images.items()], caption, WIDTH)


def code_samples(model: Autoencoder, priors: Mapping[str, Prior], value_range: Range) -> Image.Image:
    """Samples of several priors over a model's codes beside each other, from the same noise."""
    drawn = {label: model.sample(48, prior=prior).unflatten(0, (8, 6)) for label, prior in priors.items()}
    caption = (
        "Mean images of codes drawn from each prior, and the mean of -log p(codes) of a test image under it."
    )
    parts = [(label, image_grid(grid, *value_range)) for label, grid in drawn.items()]
    return beside(parts, caption, WIDTH)


def codes_map(
    model: Autoencoder, codes: Codes, factor_names: Sequence[str] = (), projection: str = "pca"
) -> Image.Image:
    """Posterior means in the latent plane or projected to a plane, coloured by label and factors.

    Circles mark 1 and 2 standard deviations of the prior if the latent space is a plane and the prior is
    N(0, I).
    """
    plane = project(codes.loc, projection)
    circles = plane.latent and isinstance(model.prior, StandardNormal)
    shown = attributes(codes.y, codes.factors, factor_names)
    caption = f"Posterior means of {len(codes.loc):,} held-out images. " + (
        "Dashed: 1 and 2 standard deviations of the prior." if circles else ""
    )
    return with_labels(figure_image(latent_map(plane, shown, circles)), caption=caption)


def manifold(model: Autoencoder, codes: Codes, value_range: Range) -> Image.Image | None:
    """Decoded images over a grid of z in a latent plane; None for other dimensions or a codebook."""
    if codes.loc.shape[1] != 2 or "codes" in model.posterior.provides:
        return None
    y = None if codes.y is None else codes.y[0].to(model.device)
    caption = (
        "Decodings of a grid in the latent plane: dimension 0 grows to the right and dimension 1 upwards, in "
        "steps of equal probability."
    )
    grid = image_grid(generation.manifold(model, codes, y=y), *value_range)
    return with_labels(grid, caption=caption, width=WIDTH)

"""The pictures of a run, as functions of a model and images or codes.

Callbacks call these functions and publish their results.
"""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from vaelab.figures import generation
from vaelab.figures.attributes import attributes
from vaelab.figures.grids import animation, beside, image_grid, with_labels
from vaelab.figures.plots import figure_image, latent_map
from vaelab.functional.mixtures import fit_gaussian_mixture
from vaelab.functional.projection import project
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import Codes
from vaelab.models.priors import StandardNormal

__all__ = ["arithmetic", "codes_map", "manifold", "mixture_samples", "moving_traversals", "sample_grids"]

Range = tuple[float, float]  # the pixel values drawn as black and as white


def sample_grids(
    model: Autoencoder, x: Tensor, y: Tensor | None, value_range: Range, shown: int = 32
) -> dict[str, Image.Image]:
    """Image grids of samples z ~ p(z) and of held-out images x (N, C, H, W), by name.

    ``prior``, ``reconstructions``, ``traversals``, ``interpolations`` (straight lines between codes) and
    ``interpolations_spherical``. Ranges of traversals are estimated from all of x; other pictures show the
    first ``shown`` images. A single image has no interpolations. y (N,): labels of a conditional model.
    """
    first, labels = x[:shown], None if y is None else y[:shown]
    images = {
        "prior": generation.prior_samples(model),
        "reconstructions": generation.reconstructions(model, first, labels),
        "traversals": generation.traversals(model, x, y=y).images[:, 0],
        "interpolations": generation.interpolations(model, first, y=labels),
        "interpolations_spherical": generation.interpolations(model, first, y=labels, spherical=True),
    }
    return {name: image_grid(grid, *value_range) for name, grid in images.items() if len(grid)}


def moving_traversals(model: Autoencoder, x: Tensor, y: Tensor | None, value_range: Range) -> bytes:
    """An endless GIF of the traversals of the first images, a row per dimension, back and forth."""
    images, dimensions = generation.traversals(model, x, y=y, starts=5)
    labels = [f"dim {d}" for d in dimensions.tolist()]
    forth = [with_labels(image_grid(frame, *value_range), labels) for frame in images.movedim(2, 0)]
    return animation(forth + forth[-2:0:-1])


def arithmetic(
    model: Autoencoder, codes: Codes, factor_names: Sequence[str], value_range: Range
) -> Image.Image | None:
    """Images from one class to the next along the difference of mean codes; None without two classes."""
    shown = generation.arithmetic(model, codes, factor_names)
    if shown is None:
        return None
    caption = f"{shown.attribute}: z + t (mean of b - mean of a)"
    return with_labels(image_grid(shown.images, *value_range), shown.moves, caption)


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
    return beside([(label, image_grid(grid, *value_range)) for label, grid in images.items()])


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
    return figure_image(latent_map(plane, shown, circles))


def manifold(model: Autoencoder, codes: Codes, value_range: Range) -> Image.Image | None:
    """Decoded images over a grid of z in a latent plane; None for other dimensions or a codebook."""
    if codes.loc.shape[1] != 2 or "codes" in model.posterior.provides:
        return None
    y = None if codes.y is None else codes.y[0].to(model.device)
    return image_grid(generation.manifold(model, codes, y=y), *value_range)

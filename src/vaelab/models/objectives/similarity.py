"""How alike image and reconstruction are to the eye, as a term beside the distortion."""

from collections.abc import Sequence

from torch import Tensor, nn
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim

from vaelab.models.objectives.objective import Term
from vaelab.types import LatentStats

__all__ = ["StructuralSimilarity"]

WINDOW = 11  # pixels of the Gaussian window, whose deviation is 1.5
# of the scales, from the finest (Wang et al., 2003, section 3.2)
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def scale_weights(image_shape: Sequence[int]) -> list[float]:
    """The weights of those scales at which a window fits into the image, divided by their sum.

    >>> [round(weight, 4) for weight in scale_weights((1, 28, 28))]
    [0.1356, 0.8644]

    Raises:
        ValueError: images below 11x11.
    """
    smallest = min(image_shape[1:])
    fitting = [weight for scale, weight in enumerate(WEIGHTS) if smallest >> scale >= WINDOW]
    if not fitting:
        size = "x".join(map(str, image_shape[1:]))
        raise ValueError(f"images of {size} are smaller than the window of {WINDOW}x{WINDOW} pixels")
    return [weight / sum(fitting) for weight in fitting]


class StructuralSimilarity(Term):
    """1 - MS-SSIM(x, E[x|z]), (S, B): 0 if the reconstruction is the image, at most 1.

    "Multiscale Structural Similarity for Image Quality Assessment" (Wang, Simoncelli & Bovik, 2003), with as
    many of its five scales as the image has room for; as a loss beside the absolute error: "Loss Functions
    for Image Restoration with Neural Networks" (Zhao et al., 2017, arXiv:1511.08861). A factor s of the
    product, which can be negative, counts as (1 + s) / 2 (torchmetrics' ``normalize="simple"``), so that its
    power has a gradient everywhere. torchmetrics averages over windows that cross the border too, mirrored;
    the metric ``ssim`` does not, and is another number.

    Its weight is in nats per image: it turns the ELBO into another objective.

    Args:
        image_shape: (C, H, W).
        value_range: of the data; the reconstruction is clamped to it.

    Raises:
        ValueError: images below 11x11.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        weight: float | nn.Module = 1.0,
        value_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        super().__init__(weight)
        self.betas = tuple(scale_weights(image_shape))
        self.low, self.high = value_range

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        reconstruction = stats.reconstruction.flatten(0, 1)
        # from 0, since the means of the window enter by their ratio
        x = stats.x.expand(stats.reconstruction.shape).flatten(0, 1) - self.low
        alike: Tensor = ms_ssim(
            reconstruction.to(x.dtype).clamp(self.low, self.high) - self.low, x, reduction="none",
            data_range=self.high - self.low, betas=self.betas, normalize="simple",
        )  # fmt: skip
        return 1 - alike.unflatten(0, stats.reconstruction.shape[:2])

"""How good a reconstruction looks: the peak signal-to-noise ratio and the structural similarity."""

import torch
from torch import Tensor

__all__ = ["psnr", "ssim", "window_width"]

MOST_DECIBELS = 100.0  # 8-bit grey levels that are right after rounding have 59 dB
WIDTH, SIGMA = 11, 1.5  # of the Gaussian window, in pixels
LEAST_WIDTH = 3  # a window of one pixel has no variance
C1, C2 = 0.01**2, 0.03**2


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """The peak signal-to-noise ratio of images on a scale of 0 to 1, in decibels: (..., C, H, W) -> (...).

    -10 log10 of the mean squared error over channels and pixels, at most 100: it has no bound where two
    images are the same. Values outside of the scale are not clipped. x and y are broadcast.

    >>> psnr(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.1))
    tensor([20.])
    """
    error = (x - y).square().mean((-3, -2, -1))
    return -10 * error.clamp(min=10 ** (-MOST_DECIBELS / 10)).log10()


def window_width(height: int, width: int) -> int:
    """The width of :func:`ssim`'s window: 11 pixels, or the largest odd number that fits into the image.

    >>> [window_width(side, side) for side in (64, 11, 10, 8)]
    [11, 11, 9, 7]
    """
    most = min(WIDTH, height, width)
    return most - 1 + most % 2


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """The structural similarity of images on a scale of 0 to 1: (..., C, H, W) -> (...), 1 if they are equal.

    The mean over channels and over all windows that lie within the image of

        (2 m_x m_y + C1) (2 c_xy + C2) / ((m_x^2 + m_y^2 + C1) (v_x + v_y + C2)),

    where m, v and c are means, variances and the covariance in the window, C1 = 0.01^2, C2 = 0.03^2. Pixels
    of a window are weighted by a Gaussian of 11 x 11 pixels with a deviation of 1.5. In smaller images the
    window is w = :func:`window_width` pixels wide, and the deviation 1.5 w / 11: such numbers compare among
    images of one size only. NaN of images that are fewer than 3 pixels high or wide. x and y are broadcast.

    "Image Quality Assessment: From Error Visibility to Structural Similarity" (Wang et al., 2004)
    """
    height, width = x.shape[-2:]
    size = window_width(height, width)
    if size < LEAST_WIDTH:
        return x.new_full(torch.broadcast_shapes(x.shape, y.shape)[:-3], torch.nan)
    down, right = (window_weights(side, size).to(x) for side in (height, width))

    def local_mean(image: Tensor) -> Tensor:
        return (image @ right.mT).mT @ down.mT  # transposed: the mean over windows is the same

    m_x, m_y, product = local_mean(x), local_mean(y), local_mean(x * y)
    means = m_x.square() + m_y.square()
    variances = local_mean(x.square() + y.square()) - means
    luminance = (2 * m_x * m_y + C1) / (means + C1)
    structure = (2 * (product - m_x * m_y) + C2) / (variances + C2)
    return (luminance * structure).mean((-3, -2, -1))


def window_weights(side: int, size: int) -> Tensor:
    """The weights of ``side`` pixels in each of the windows within them, (side - size + 1, side)."""
    first = torch.arange(side - size + 1)[:, None]
    place = torch.arange(side) - first  # in the window
    weights = (-((place - size // 2) / (SIGMA * size / WIDTH)).square() / 2).exp()
    weights = weights.where((place >= 0) & (place < size), 0.0)
    return weights / weights.sum(1, keepdim=True)

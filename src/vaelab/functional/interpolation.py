"""Paths between codes, and how evenly the decoded images change along them.

A decoder is any function z (N, D) -> images (N, ...), row by row; ``features`` any function of those images.
Without features the distance of two images is the Euclidean distance of their pixels.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vaelab.functional.randomness import generator

__all__ = [
    "detour",
    "image_distance",
    "interpolate",
    "longest_step",
    "path",
    "path_steps",
    "perceptual_path_length",
    "slerp",
]

Function = Callable[[Tensor], Tensor]


def slerp(z1: Tensor, z2: Tensor, t: Tensor | float) -> Tensor:
    """Spherical interpolation, [sin((1 - t) w) z1 + sin(t w) z2] / sin w, with w the angle of z1 and z2.

    (..., D); t broadcasts against it. Between vectors of one length the length is constant and the angle
    grows evenly. A sample of N(0, I) in D dimensions has a length near sqrt(D); points of the straight line
    between two of them are shorter.

    Parallel vectors: the limit, which is the straight line. Opposite vectors (no half circle is preferred to
    another) and vectors of length 0: the straight line too.

    "Animating rotation with quaternion curves" (Shoemake, SIGGRAPH 1985); for generative models "Sampling
    Generative Networks" (White, 2016), https://arxiv.org/abs/1609.04468

    >>> slerp(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0]), 0.5)
    tensor([2.1213, 2.1213])
    """
    t = torch.as_tensor(t).to(z1)
    a, b = (z / z.norm(dim=-1, keepdim=True) for z in (z1, z2))
    # by the half angle: arccos of the inner product loses half of the digits of a small angle
    angle = 2 * torch.atan2((a - b).norm(dim=-1, keepdim=True), (a + b).norm(dim=-1, keepdim=True))
    sine = angle.sin()
    straight = ~(sine > torch.finfo(z1.dtype).eps ** 0.5)  # NaN for a vector of length 0
    sine, angle = sine.masked_fill(straight, 1), angle.masked_fill(straight, 0)
    curved = ((1 - t) * angle).sin() / sine * z1 + (t * angle).sin() / sine * z2
    return torch.where(straight, torch.lerp(z1, z2, t), curved)


def interpolate(z1: Tensor, z2: Tensor, t: Tensor | float, spherical: bool = False) -> Tensor:
    """The point at t in [0, 1] of the straight path, (1 - t) z1 + t z2, or of the spherical one."""
    return slerp(z1, z2, t) if spherical else torch.lerp(z1, z2, torch.as_tensor(t).to(z1))


def path(z1: Tensor, z2: Tensor, steps: int, spherical: bool = False) -> Tensor:
    """(N, D), (N, D) -> (N, steps, D): evenly spaced t from z1 to z2, both included."""
    t = torch.linspace(0, 1, steps, device=z1.device)[:, None]
    return interpolate(z1[:, None], z2[:, None], t, spherical)


def perceptual_path_length(
    decode: Function,
    z1: Tensor,
    z2: Tensor,
    features: Function | None = None,
    spherical: bool = False,
    epsilon: float | None = None,
    seed: int = 0,
) -> Tensor:
    """1/eps^2 |f(g(z(t))) - f(g(z(t + eps)))|^2 for each pair, t ~ U(0, 1): (N, D), (N, D) -> (N,).

    The perceptual path length is its mean over the pairs, the expected squared speed of the images along the
    path. z(t) is the straight or the spherical path, g decodes, and f are the ``features``; without, the
    pixels. Lengths under different features or image sizes are not comparable. The paper's distance is LPIPS
    on VGG16 features, and its code drops the pairs below the 1 % and above the 99 % quantile; this does not.

    "A Style-Based Generator Architecture for Generative Adversarial Networks" (Karras et al., 2019, section
    4.1), https://arxiv.org/abs/1812.04948

    Args:
        epsilon: the step. None: 1e-4, as in the paper, in double precision, and 1e-3 in single precision,
            where a decoder's rounding, about 1e-6, adds (1e-6 / epsilon)^2 for each pixel.
        seed: of t, one for each pair.
    """
    if epsilon is None:
        epsilon = 1e-4 if z1.dtype == torch.float64 else 1e-3
    t = (
        torch.rand(len(z1), 1, generator=generator(seed, "path length"), dtype=torch.float64)
        .to(z1.dtype)
        .to(z1.device)
    )
    one, other = (
        _flat(decode(interpolate(z1, z2, place, spherical)), features) for place in (t, t + epsilon)
    )
    return (one - other).square().sum(-1) / epsilon**2


def path_steps(
    decode: Function,
    z1: Tensor,
    z2: Tensor,
    steps: int = 16,
    features: Function | None = None,
    spherical: bool = False,
) -> Tensor:
    """How far the image moves in each of ``steps`` equal steps of t: (N, D), (N, D) -> (N, steps).

    Distances, not squared: |f(g(z(t_i+1))) - f(g(z(t_i)))|.
    """
    moves, before = [], _flat(decode(z1), features)
    for i in range(1, steps + 1):
        here = _flat(decode(interpolate(z1, z2, i / steps, spherical)), features)
        moves.append((here - before).norm(dim=-1))
        before = here
    return torch.stack(moves, dim=-1)


def longest_step(steps: Tensor) -> Tensor:
    """The longest step of each path over its mean step: (N, steps) -> (N,), from 1 to the number of steps.

    1 is a path of even speed; an image that stays and then jumps has a large one. NaN for an image that does
    not move at all.
    """
    return steps.amax(-1) / steps.mean(-1)


def image_distance(decode: Function, z1: Tensor, z2: Tensor, features: Function | None = None) -> Tensor:
    """|f(g(z1)) - f(g(z2))|: (N, D), (N, D) -> (N,)."""
    return (_flat(decode(z2), features) - _flat(decode(z1), features)).norm(dim=-1)


def detour(steps: Tensor, distance: Tensor) -> Tensor:
    """The length of each path of images over the distance of its ends: (N, steps), (N,) -> (N,), at least 1.

    1 is a cross-fade, the straight line from one image to the other. It has no unit, so it does not depend on
    how sharp the images are. NaN for equal ends.
    """
    return steps.sum(-1) / distance.where(distance > 0, torch.nan)


def _flat(images: Tensor, features: Function | None) -> Tensor:
    return (images if features is None else features(images)).flatten(1)

"""Grey images made binary: four conventions that are four different data sets (never compare across them).

============  ===================================================================================
none          images as they are
threshold     x > 0.5, once
static        one Bernoulli(x) draw per image, once, the same in every run (Larochelle & Murray 2011)
dynamic       a new Bernoulli(x) draw for every training batch (Salakhutdinov & Murray 2008; Burda et al.
              2016); the images held out take the static draw, so that their numbers do not move
============  ===================================================================================

Images that are binary already (dtype bool) are what they are: every convention leaves them alone, since
Bernoulli(0) is 0 and Bernoulli(1) is 1.
"""

import torch
from torch import Tensor

from vaelab.errors import UserError, did_you_mean
from vaelab.functional.images import Images, map_images, to_float, value_range
from vaelab.functional.randomness import generator

MODES = ("none", "threshold", "static", "dynamic")


def check_mode(mode: str) -> None:
    """A UserError if ``mode`` is none of MODES."""
    if mode not in MODES:
        raise UserError(f"data.binarize={mode} is unknown. {did_you_mean(str(mode), MODES)}")


def bernoulli(x: Tensor, random: torch.Generator) -> Tensor:
    """A binary draw (bool) with the stored images ``x``, scaled to [0, 1], as its probabilities."""
    probability = to_float(x)
    return torch.rand(probability.shape, generator=random, device=probability.device) < probability


def threshold(x: Images) -> Tensor:
    """Every image x > 0.5 after scaling, as bool."""
    return map_images(x, lambda part: to_float(part) > 0.5)


def static(x: Images, stream: str) -> Tensor:
    """One draw per image, as bool: a function of the images and of ``stream``, never of a run's seed."""
    random = generator(0, f"data/binarize/{stream}")
    return map_images(x, lambda part: bernoulli(part, random))


def binarize(x: Images, mode: str, stream: str) -> Images:
    """The images ``x`` stored as ``mode`` has them; for "dynamic" that is the static draw of held-out images.

    ``stream`` names the set, so that two sets do not share their draws. A UserError if values to be
    binarised lie outside [0, 1].
    """
    if mode == "none" or x.dtype == torch.bool:
        return x
    check_unit_interval(x, mode)
    return threshold(x) if mode == "threshold" else static(x, stream)


def check_unit_interval(x: Images, mode: str) -> None:
    """A UserError if any value lies outside [0, 1]: it is no probability."""
    low, high = value_range(x)
    if low < 0 or high > 1:
        raise UserError(
            f"data.binarize={mode} needs values in [0, 1], but the images reach from {low:g} to {high:g}.\n"
            "Scale the data, or take data.binarize=none."
        )

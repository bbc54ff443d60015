"""Random changes of training images: mirrored, or moved by some pixels."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["UNCHANGED", "Augmentation", "cropped", "flipped"]


class Augmentation(NamedTuple):
    """What is done to training images, anew in every epoch."""

    flip: bool = False  # mirror each left to right with probability 1/2
    crop: int = 0  # move each by up to so many pixels along both axes

    def check(self, height: int, width: int) -> None:
        """Refuse what images of this size do not allow.

        Raises:
            ValueError: beginning with the key.
        """
        for name, asked in self._asdict().items():
            if asked and height == 1:
                raise ValueError(
                    f"augment.{name}={str(asked).lower()} is for images, but the data are the rows of a table"
                )
        if not 0 <= self.crop < min(height, width):
            raise ValueError(
                f"augment.crop={self.crop} must be 0 to {min(height, width) - 1} pixels, for images of "
                f"{height}x{width}"
            )

    def apply(self, x: Tensor, random: Callable[[str], torch.Generator]) -> Tensor:
        """The images x (B, C, H, W), changed; ``random`` gives the generator of a stream."""
        if self.crop:
            x = cropped(x, self.crop, random("data/crop"))
        return flipped(x, random("data/flip")) if self.flip else x


UNCHANGED = Augmentation()


def flipped(x: Tensor, random: torch.Generator) -> Tensor:
    """The images x (B, C, H, W), each mirrored left to right with probability 1/2."""
    mirrored = torch.rand(len(x), generator=random) < 0.5
    return torch.where(mirrored[:, None, None, None], x.flip(-1), x)


def cropped(x: Tensor, pixels: int, random: torch.Generator) -> Tensor:
    """A part of each image x (B, C, H, W), of its size, once it is padded by ``pixels`` on all sides.

    The padding repeats the pixels of the edge. All (2 pixels + 1)^2 places of the part are equally likely.
    """
    height, width = x.shape[2:]
    down, right = torch.randint(-pixels, pixels + 1, (2, len(x), 1), generator=random)
    rows = (torch.arange(height) + down).clamp(0, height - 1)  # (B, H)
    columns = (torch.arange(width) + right).clamp(0, width - 1)  # (B, W)
    moved = x.gather(2, rows[:, None, :, None].expand_as(x))
    return moved.gather(3, columns[:, None, None, :].expand_as(x))

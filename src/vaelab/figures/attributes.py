"""What is known of images beside their pixels, as something to colour, to name and to group them by."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MOST_CLASSES = 20  # an attribute of more values is a quantity, not a class


class Attribute(NamedTuple):
    """What is known of each image: its class or a quantity."""

    name: str
    values: Tensor  # (N,)

    @property
    def classes(self) -> Tensor | None:
        """The distinct values in ascending order, (K,), if they are few; None for a quantity."""
        found = self.values.unique()
        return found if len(found) <= MOST_CLASSES else None


def attributes(y: Tensor | None, factors: Tensor | None, factor_names: Sequence[str] = ()) -> list[Attribute]:
    """The label y (N,), then those of the factors (N, F) that differ between the images.

    A label that is one of the factors, image by image, goes by that factor's name.
    """
    columns = [] if factors is None else [column.contiguous() for column in factors.T]
    names = [*factor_names, *(f"factor {i}" for i in range(len(factor_names), len(columns)))]
    found = [Attribute(*pair) for pair in zip(names, columns, strict=False) if len(pair[1].unique()) > 1]
    if y is None or any(torch.equal(y, factor.values) for factor in found):
        return found
    return [Attribute("label", y), *found]


def text(value: Tensor) -> str:
    """A class's value as one writes it: 3, 0.25."""
    return f"{value.item():.3g}" if value.is_floating_point() else str(value.item())


class Groups(NamedTuple):
    """Images put together by an attribute."""

    names: list[str]  # K
    number: Tensor  # (N,)  each image's group; -1 for none


def groups(attribute: Attribute) -> Groups:
    """A group for each class; of a quantity the lower and the upper third, the middle in none."""
    values, classes = attribute.values, attribute.classes
    if classes is not None:
        return Groups([text(value) for value in classes], torch.searchsorted(classes, values))
    low, high = values.double().quantile(torch.tensor([1 / 3, 2 / 3], dtype=torch.double))
    index = torch.full_like(values, -1, dtype=torch.long)
    index[values <= low] = 0
    index[values >= high] = 1
    return Groups(["low", "high"], index)

"""Labels and factors of images as attributes, by which pictures colour and group the images."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Attribute", "Groups", "attributes", "groups", "text"]

MOST_CLASSES = 20  # an attribute with more distinct values is a quantity


class Attribute(NamedTuple):
    """A property of N images: a class or a quantity."""

    name: str
    values: Tensor  # (N,)

    @property
    def classes(self) -> Tensor | None:
        """The distinct values in ascending order, (K,); None for a quantity."""
        distinct = self.values.unique()
        return distinct if len(distinct) <= MOST_CLASSES else None


def attributes(y: Tensor | None, factors: Tensor | None, factor_names: Sequence[str] = ()) -> list[Attribute]:
    """The label y (N,) and those of the factors (N, F) that vary between the images.

    A label that equals a factor in every image is left out, because the factor has a name.
    """
    columns = [] if factors is None else [column.contiguous() for column in factors.T]
    names = [*factor_names, *(f"factor {i}" for i in range(len(factor_names), len(columns)))]
    pairs = [Attribute(name, values) for name, values in zip(names, columns, strict=False)]
    varying = [attribute for attribute in pairs if len(attribute.values.unique()) > 1]
    if y is None or any(torch.equal(y, factor.values) for factor in varying):
        return varying
    return [Attribute("label", y), *varying]


def text(value: Tensor) -> str:
    """The value of a class as text: 3, 0.25."""
    return f"{value.item():.3g}" if value.is_floating_point() else str(value.item())


class Groups(NamedTuple):
    """Images grouped by an attribute."""

    names: list[str]  # K
    number: Tensor  # (N,)  the index of each image's group; -1 for none


def groups(attribute: Attribute) -> Groups:
    """A group per class; for a quantity, the lower and the upper third of its values."""
    values, classes = attribute.values, attribute.classes
    if classes is not None:
        return Groups([text(value) for value in classes], torch.searchsorted(classes, values))
    low, high = values.double().quantile(torch.tensor([1 / 3, 2 / 3], dtype=torch.double))
    index = torch.full_like(values, -1, dtype=torch.long)
    index[values <= low] = 0
    index[values >= high] = 1
    return Groups(["low", "high"], index)

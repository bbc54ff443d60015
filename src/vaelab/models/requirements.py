"""What the parts of a model need of each other, in one vocabulary."""

from collections.abc import Mapping
from typing import Literal, Protocol

__all__ = ["DESCRIPTIONS", "Misfit", "Property", "check_needs"]

Property = Literal[
    "density",
    "independent dimensions",
    "vectors",
    "codes",
    "trainable codes",
    "codebook loss",
    "kl per dimension",
    "encoder without labels",
]

DESCRIPTIONS: dict[Property, str] = {
    "density": "a posterior with a density, and the posterior is deterministic",
    "independent dimensions": "a posterior with independent dimensions",
    "vectors": "a posterior over vectors, and the posterior chooses codes",
    "codes": "a posterior that chooses codes",
    "trainable codes": "codes that are trained by gradient, and the codes are moving averages",
    "codebook loss": "a CodebookLoss in the objective: nothing else moves the codes",
    "kl per dimension": "a prior that gives each dimension a KL of its own",
    "encoder without labels": "an encoder without labels: its pseudo-inputs have none",
}


class Part(Protocol):
    """A part of a model: a posterior, a prior, a term of the objective or a condition."""

    @property
    def provides(self) -> frozenset[Property]: ...

    @property
    def needs(self) -> frozenset[Property]: ...


class Misfit(ValueError):
    """A part needs a property that no other part of the model provides.

    Attributes:
        part: where the part stands in the model, such as ``objective.kl``.
        need: the missing property.
    """

    def __init__(self, part: str, need: Property) -> None:
        super().__init__(f"{part} needs {DESCRIPTIONS[need]}")
        self.part, self.need = part, need


def check_needs(parts: Mapping[str, Part]) -> None:
    """Raise a :class:`Misfit` for the first part whose needs the parts together do not provide."""
    provided = frozenset[Property]().union(*(part.provides for part in parts.values()))
    for name, part in parts.items():
        for need in sorted(part.needs - provided):
            raise Misfit(name, need)

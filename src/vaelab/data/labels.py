"""Class labels of the splits of a run: how many classes they are, or why they are none."""

from typing import NamedTuple

from torch import Tensor

from vaelab.data.splits import Splits

__all__ = ["ClassLabels", "class_labels"]

FEWEST_REFUSED = 1000  # classes that are never too many, however few images there are


class ClassLabels(NamedTuple):
    """Labels 0, ..., classes - 1; or None, and why they can't be used as such."""

    classes: int | None
    problem: str = ""  # a clause


def class_labels(splits: Splits) -> ClassLabels:
    """The classes of all splits together.

    Labels that nothing uses may be anything, so a problem is no error here: the part that needs classes
    raises it. A label that is neither below FEWEST_REFUSED nor below the number of images is no class: a
    class for each number below it would be mostly empty, and would not fit into memory.
    """
    parts = {"training": splits.train, "validation": splits.val, "test": splits.test}
    labels = {name: part.y for name, part in parts.items() if part is not None and len(part)}
    missing = [name for name, y in labels.items() if y is None]
    if len(missing) == len(labels):
        return ClassLabels(None, "the data have none")
    if missing:
        return ClassLabels(None, f"the {' and '.join(missing)} images have none")
    known: dict[str, Tensor] = {name: y for name, y in labels.items() if y is not None}
    most = max(FEWEST_REFUSED, sum(map(len, known.values())))
    for name, y in known.items():
        least, greatest = int(y.min()), int(y.max())
        if least < 0 or greatest >= most:
            wrong = least if least < 0 else greatest
            return ClassLabels(
                None,
                f"the {name} images have the label {wrong}, where K classes are numbered 0, ..., K-1; "
                "numpy.unique(y, return_inverse=True)[1] numbers them",
            )
    return ClassLabels(max(int(y.max()) for y in known.values()) + 1)

"""What may help where a number is not finite."""

from typing import Any

from vaelab.data.datamodule import DataModule

__all__ = ["remedy", "scale_advice"]

LARGE = 10.0  # values beyond it are not scaled, or far outliers


def remedy(data: Any) -> str:
    """A sentence for a run on these data, a :class:`~vaelab.data.DataModule` or nothing known."""
    low, high = getattr(data, "value_range", (0.0, 1.0))
    if isinstance(data, DataModule) and max(-low, high) > LARGE:
        return f"The images lie in [{low:g}, {high:g}]. {scale_advice(data)}"
    return "A smaller optimizer.lr or trainer.gradient_clip_val=1 may help."


def scale_advice(data: DataModule) -> str:
    """How to bring the values of images near 1."""
    if data.scaling is not None:
        return f"data.scale={data.scaling.mode} left values far from the others: look at them."
    return "Scale them: data.scale=standardize, or in the file."

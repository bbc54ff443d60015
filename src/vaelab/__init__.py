"""vaelab: a configurable experiment framework for autoencoders, VAEs and beta-VAEs.

Importing the package is cheap: nothing here imports torch. The one public function of the package
itself, :func:`load`, is fetched on first use.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from vaelab.training.loading import load


def __getattr__(name: str) -> Any:
    if name == "load":
        from vaelab.training.loading import load

        return load
    raise AttributeError(f"module 'vaelab' has no attribute {name!r}")

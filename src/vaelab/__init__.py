"""vaelab: a configurable experiment framework for autoencoders, VAEs and beta-VAEs.

::

    run = vaelab.train("model=vae", "data=digits", "trainer.max_epochs=5")
    run.metrics["test/elbo"], run.sample(16), run.figures()

Importing the package imports no torch; the functions are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vaelab.errors import UserError

__version__ = "0.1.0"
__all__ = ["Run", "SweepResult", "UserError", "__version__", "load", "sweep", "train"]

if TYPE_CHECKING:
    from vaelab.cli.python import SweepResult, sweep, train
    from vaelab.training.loading import Run, load

HOMES = {
    "Run": "vaelab.training.loading",
    "load": "vaelab.training.loading",
    "SweepResult": "vaelab.cli.python",
    "sweep": "vaelab.cli.python",
    "train": "vaelab.cli.python",
}


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module 'vaelab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

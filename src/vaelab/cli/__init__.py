"""The commands. They import torch and Lightning only inside a job."""

from vaelab.cli.sweep import Sweep

__all__ = ["Sweep"]

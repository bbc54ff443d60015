"""The commands. Light: torch and Lightning are imported inside of a job."""

from vaelab.cli.sweep import Sweep

__all__ = ["Sweep"]

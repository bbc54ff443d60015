"""Comparing runs from their records: a table, plots, findings and one HTML page. No torch and no network.

:func:`compare_sweep` is imported on first use, so that importing the package costs nothing.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["compare_sweep"]

if TYPE_CHECKING:
    from vaelab.reports.report import compare_sweep


def __getattr__(name: str) -> Any:
    if name == "compare_sweep":
        from vaelab.reports.report import compare_sweep

        return compare_sweep
    raise AttributeError(f"module 'vaelab.reports' has no attribute {name!r}")

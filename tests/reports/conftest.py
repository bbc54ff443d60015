"""Sweeps on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compare_builders import add_history, add_pictures

from vaelab.runs.record import write_record

Maker = Callable[..., Path]


@pytest.fixture
def sweep(tmp_path: Path) -> Maker:
    """Writes records into the folders of a sweep, and returns the sweep's folder."""

    def make(
        *records: dict[str, Any], name: str = "sweep", pictures: bool = False, history: bool = False
    ) -> Path:
        for i, record in enumerate(records):
            folder = tmp_path / name / f"{i:02d}"
            write_record(folder, record)
            if pictures:
                add_pictures(folder)
            if history:
                add_history(folder)
        return tmp_path / name

    return make

"""The record of a run, ``results.json``: complete without W&B, written atomically, read by everything."""

import json
import math
from pathlib import Path
from typing import Any

from vaelab.runs.files import replacing

SCHEMA = 1
FILE_NAME = "results.json"
# beside the record: a row an epoch; the second is Lightning's CSVLogger's, of the same form
HISTORY_FILES = ("history.csv", "metrics.csv")


def plain(value: Any) -> Any:
    """``value`` in JSON's own types; a number that is undefined or infinite becomes null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # tensors and arrays
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"model": {"beta": 4}}`` -> ``{"model.beta": 4}``; lists stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def finite(value: Any) -> float | None:
    """``value`` as a float if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def write_record(folder: Path, record: dict[str, Any]) -> Path:
    """Write the record into ``folder``; no reader ever sees half of it."""
    path = Path(folder) / FILE_NAME
    with replacing(path) as temporary:
        text = json.dumps(plain(record), indent=1, allow_nan=False)
        temporary.write_text(f"{text}\n", encoding="utf-8")
    return path


def read_record(folder: Path) -> dict[str, Any]:
    """The record in ``folder``. Raises FileNotFoundError, or ValueError if it is not a record."""
    record = json.loads((Path(folder) / FILE_NAME).read_text(encoding="utf-8"))
    if not isinstance(record, dict) or "schema" not in record:
        raise ValueError(f"{Path(folder) / FILE_NAME} is not a record of a vaelab run")
    return record

"""Which rows of a comparison have numbers that compare."""

from vaelab.reports.records import RecordedRun
from vaelab.reports.table import Row, Table, canonical
from vaelab.runs.comparable import bears_on_result

__all__ = ["comparable_groups", "condition_of"]

SIZES = ("data.batch_size", "data.train_size")  # nats per image mean the same whatever these are


def comparable_groups(table: Table, finished: bool = True) -> dict[str, list[Row]]:
    """The rows by what their nats refer to: data, likelihood and condition; named by these.

    Args:
        finished: only rows with a finished run, which have final numbers.
    """
    groups: dict[str, list[Row]] = {}
    for row in table.rows:
        if row.n or not finished:
            parts = {key: value for key, value in row.first.config.items() if defines_nats(key)}
            groups.setdefault(canonical([row.first.dataset, parts, condition_of(row)]), []).append(row)
    named: dict[str, list[Row]] = {}
    for rows in groups.values():
        run, condition = rows[0].first, condition_of(rows[0])
        likelihood = class_name(run, "likelihood")
        brackets = ", ".join(filter(None, [likelihood, condition and f"given {condition}"]))
        name = " ".join(filter(None, [run.dataset, brackets and f"({brackets})"]))
        named[f"{name} [{rows[0].label}]" if name in named else name] = rows
    return named


def defines_nats(key: str) -> bool:
    return key.startswith("likelihood.") or (
        key.startswith("data.") and key not in SIZES and bears_on_result(key)
    )


def condition_of(row: Row) -> str:
    """What the model receives beside the image, by its class's name (``label``); empty if nothing."""
    return class_name(row.first, "model.condition").removesuffix("Condition").lower()


def class_name(run: RecordedRun, key: str) -> str:
    return str(run.config.get(f"{key}._target_", "")).rsplit(".", 1)[-1]

"""The model card of an exported run: what it is, how to load it, its numbers with their errors, pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab.errors import UserError, one_line
from vaelab.reports.columns import columns, details, table_note
from vaelab.reports.records import RecordedRun, read_runs
from vaelab.reports.report import render
from vaelab.reports.table import Table, build_table, show
from vaelab.runs.comparable import bears_on_result
from vaelab.runs.naming import as_call
from vaelab.runs.places import KEYS as PLACES
from vaelab.runs.record import FILE_NAME as RECORD
from vaelab.runs.record import read_record

__all__ = ["FILE_NAME", "model_card"]

FILE_NAME = "README.md"
TEMPLATE = "card.md"
SPLIT = "test"
PARTS = ("network", "model.posterior", "model.condition", "prior", "likelihood")  # keys of the config


def model_card(folder: Path, export: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """The card, in Markdown.

    Args:
        folder: the run's.
        export: what ``export.json`` says (:func:`vaelab.training.export.export_run`).
        pictures: their files, from the card on.

    Raises:
        UserError: the record lacks what every finished run's has.
    """
    record = read_record(folder)
    runs = read_runs([folder]).runs
    if record.get("curve"):
        runs = [run for run in runs if run.beta == export["beta"]]
    try:
        content = {"facts": facts(record, export, runs), "numbers": numbers(build_table(runs, SPLIT))}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{folder / RECORD} lacks what a card says: {one_line(error)}") from error
    shown = {"record": record, "export": export, "pictures": pictures, "signature": signature}
    return render(TEMPLATE, content | shown)


def facts(
    record: Mapping[str, Any], export: Mapping[str, Any], runs: Sequence[RecordedRun]
) -> dict[str, str]:
    """What was trained, on which images and how: a name for each text."""
    data, versions = record["data"], record["versions"]
    low, high = data["value_range"]
    latent = export["latent_shape"]
    found = {"variant": record["variant"]}
    found["data"] = (
        f"{record['dataset']}: {data['train']:,} training, {data['val']:,} validation and {data['test']:,} "
        f"test images of {size(data['image_shape'])}, from {low:g} to {high:g}"
    )
    if data.get("scaling"):
        found["data"] += f" once scaled ({data['scaling']['mode']})"
    found["images' SHA-256"] = data["sha256"]
    found["latent"] = f"a map of {size(latent)}" if len(latent) > 1 else f"{latent[0]} numbers"
    if export["beta"] is not None:
        found["β"] = show(export["beta"])
    for key in PARTS:
        node = part_of(record["config"], key)
        if node is not None:
            found[key.rpartition(".")[2]] = as_call(node)
    found["parameters"] = f"{record['parameters']:,}"
    found["training"] = f"{record['metrics'].get('train/steps', 0):,} steps, seed {record['seed']}"
    found["settings"] = " ".join(filter(is_public, record["overrides"]))
    found["made by"] = f"vaelab {versions['vaelab']} and torch {versions['torch']}, {record['finished'][:10]}"
    for verdict in (run.verdict(SPLIT) for run in runs):
        if verdict is not None:
            found["verdict"] = f"{verdict.label}: {verdict.reason}"
    return {name: text for name, text in found.items() if text}


def part_of(config: Mapping[str, Any], key: str) -> Any:
    """The node at ``key``, such as ``model.prior``; None if there is none."""
    node: Any = config
    for name in key.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def is_public(override: str) -> bool:
    """Whether a setting says what was trained, and not where something lies on the trainer's machine.

    >>> is_public("model.beta=4"), is_public("data.path=/home/me/photos"), is_public("~logger")
    (True, False, False)
    """
    key = override.partition("=")[0].lstrip("+~")
    return bears_on_result(key) and key not in [f"data.{name}" for name in PLACES]


def numbers(table: Table) -> list[tuple[str, list[tuple[str, str]], str]]:
    """Tables of numbers: a title, (name, value) pairs and a note each; none without a measured run."""
    if not any(row.n for row in table.rows):
        return []
    [row] = table.rows
    parts = [("Test images", columns(table), table_note(table))]
    parts += [(part.title, part.columns, part.note) for part in details(table)]
    tables, seen = [], set[str]()
    for title, shown, note in parts:
        new = [column for column in shown if column.metric and column.metric not in seen]
        seen |= {column.metric for column in new}
        pairs = [(column.header, column.cell(row)) for column in new]
        tables.append((title, [(name, text) for name, text in pairs if text], note))
    return tables


def size(shape: Sequence[int]) -> str:
    """``[1, 8, 8]`` -> ``1x8x8``."""
    return "x".join(map(str, shape))


def signature(fields: Mapping[str, Any]) -> str:
    """``images float32 (N, 1, 8, 8), labels int64 (N,)``."""
    return ", ".join(
        f"{name} {field['dtype']} ({', '.join(map(str, field['shape']))}{',' * (len(field['shape']) == 1)})"
        for name, field in fields.items()
    )

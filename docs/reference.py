"""The reference pages that are made from conf/ and from docstrings, each time that the docs are built."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
SOURCE = ROOT / "src" / "vaelab"

ROOMS = {
    "functional": "Pure tensor functions",
    "data": "Data sets",
    "models": "Models and their parts",
    "metrics": "Metrics",
    "figures": "Figures",
    "training": "Training",
    "evaluation": "Evaluation of trained runs",
    "runs": "Run folders and records",
    "reports": "Reports",
}

# Imports a library that warns at import, and shows nothing that a user calls.
LEFT_OUT = ("vaelab.reports.dashboard",)


def write_reference(folder: Path) -> None:
    """Write configuration.md and a page of the API for each room into ``folder``."""
    folder.mkdir(exist_ok=True)
    _write(folder / "configuration.md", "\n".join(configuration()))
    for room, title in ROOMS.items():
        _write(folder / f"{room}.md", "\n".join(api(room, title)))


def _write(page: Path, text: str) -> None:
    """Sphinx reads a page again when its file is newer: a page that says the same stays as it is."""
    if not page.is_file() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def configuration() -> Iterator[str]:
    """Each group of conf/ with its options; each option with its keys, their defaults and comments."""
    yield "# Configuration reference\n"
    yield "Made from the files in `conf/`. A key is set on the command line as `key=value`; `vaelab-train"
    yield "--list` prints the options, and `vaelab-train --help` everything.\n"
    yield "## Root\n"
    yield from key_table(CONF / "train.yaml", "")
    for group in groups():
        yield f"\n## `{group}`\n"
        for file in sorted((CONF / group).glob("[!_]*.yaml")):
            yield f"\n### `{group}={file.stem}`\n"
            yield purpose(file) + "\n"
            yield from key_table(file, prefix(group, file))


def groups() -> list[str]:
    """The folders of conf/ that hold options, those of Hydra's own left out."""
    folders = {file.parent.relative_to(CONF).as_posix() for file in CONF.glob("**/*.yaml")}
    return sorted(folder for folder in folders - {"."} if not folder.startswith("hydra/h"))


def prefix(group: str, file: Path) -> str:
    """What stands before an option's keys on the command line; nothing for `@package _global_`."""
    text = file.read_text(encoding="utf-8")
    return "" if "@package _global_" in text else group.replace("/", ".") + "."


def purpose(file: Path) -> str:
    """The first comment of the file that is no directive for Hydra, without its leading ``name:``."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").removeprefix(f"{file.stem}: ")
    return ""


def key_table(file: Path, start: str) -> Iterator[str]:
    """A Markdown table of the file's keys, as they are set on the command line."""
    lines = file.read_text(encoding="utf-8").splitlines()
    rows = list(leaves(yaml.compose(file.read_text(encoding="utf-8")), start, lines))
    if rows:
        yield "| key | default | |\n|---|---|---|"
        yield from (f"| `{key}` | `{value}` | {comment} |" for key, value, comment in rows)


def leaves(node: yaml.Node | None, key: str, lines: list[str]) -> Iterator[tuple[str, str, str]]:
    """(key, default, comment) of every plain value below ``node``, without those that only Hydra reads."""
    if not isinstance(node, yaml.MappingNode):
        return
    for name, value in node.value:
        if name.value in ("defaults", "hydra", "_target_"):
            continue
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            yield from leaves(value, f"{key}{name.value}.", lines)
            continue
        line = lines[value.start_mark.line] if value.start_mark.line < len(lines) else ""
        comment = line[value.end_mark.column :].partition("#")[2].strip() if "#" in line else ""
        yield f"{key}{name.value}", cell(value), comment.replace("|", "\\|")


def cell(node: yaml.Node) -> str:
    """A value as it stands in YAML, in one line of a table."""
    value: Any = yaml.serialize(node).strip().removesuffix("...").strip()
    return " ".join(str(value).split()).replace("|", "\\|").replace("`", "'")


def api(room: str, title: str) -> Iterator[str]:
    """A page with the public names of every module of a room."""
    yield f"# {title}: `vaelab.{room}`\n"
    for module in modules(room):
        yield f"## `{module}`\n" if module != f"vaelab.{room}" else ""
        members = "" if module == f"vaelab.{room}" else "   :members:\n"
        yield f"```{{eval-rst}}\n.. automodule:: {module}\n{members}```\n"


def modules(room: str) -> list[str]:
    """The room's modules by name, the room itself first; packages without members of their own left out."""
    found = []
    for file in sorted((SOURCE / room).rglob("*.py")):
        name = ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        package = file.name == "__init__.py" and name != f"vaelab.{room}"
        if not package and not name.startswith(LEFT_OUT):
            found.append(name)
    return sorted(found, key=lambda name: (name != f"vaelab.{room}", name))

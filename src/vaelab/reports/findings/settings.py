"""What differs between the settings of runs, and why a run has no numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vaelab.reports.records import RecordedRun
from vaelab.reports.table import canonical, show
from vaelab.runs.comparable import bears_on_result
from vaelab.runs.find import natural
from vaelab.runs.naming import MULTIRUN
from vaelab.runs.status import read_progress

__all__ = ["Difference", "differing_settings", "unfinished"]

MOST_VALUES = 12


@dataclass(frozen=True)
class Difference:
    """Settings that differ between runs, all in the same way, and each value with how many runs have it."""

    keys: tuple[str, ...]
    values: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        """``0.5 (2), 1 (2), 2 (2)``"""
        texts = [f"{text} ({number})" for text, number in self.values[:MOST_VALUES]]
        more = len(self.values) - MOST_VALUES
        return ", ".join(texts) + (f", and {more} more" if more > 0 else "")


def differing_settings(runs: Sequence[RecordedRun]) -> list[Difference]:
    """Whatever bears on the result and differs between the runs' configs, code and packages.

    Keys that differ in the same way, as a beta and the weight that follows it, share an entry.
    """
    settings = [
        {"model": run.variant, "data": run.dataset, **run.config, **run.setup} for run in runs if run.config
    ]
    entries: dict[str, list[str]] = {}
    for key in filter(bears_on_result, dict.fromkeys(key for setting in settings for key in setting)):
        values = [canonical(setting.get(key)) for setting in settings]
        if len(set(values)) > 1:
            entries.setdefault(canonical(values), []).append(key)
    differences = []
    for keys in entries.values():
        texts = Counter(
            show(setting[keys[0]]) or "null" if keys[0] in setting else "(absent)" for setting in settings
        )
        differences.append(
            Difference(tuple(keys), tuple((text, texts[text]) for text in sorted(texts, key=natural)))
        )
    return differences


def unfinished(runs: Sequence[RecordedRun]) -> list[tuple[RecordedRun, str]]:
    """Every run without its final numbers, and why it has none."""
    return [(run, reason(run)) for run in runs if not run.finished]


def reason(run: RecordedRun) -> str:
    """Why a run has no final numbers; an interrupted run has not failed, and can be resumed."""
    progress = read_progress(run.folder)
    done = f"{progress.epoch} of {progress.max_epochs} epochs" if progress and progress.max_epochs else ""
    if run.status == "running":
        return f"still training, {done} done" if done else "still training"
    if run.status == "interrupted":
        resumes = "; the same command resumes it" if (run.folder.parent / MULTIRUN).is_file() else ""
        return f"stopped {f'after {done}' if done else 'before its end'}{resumes}"
    return run.error.strip().splitlines()[0] if run.error else "no reason in its record"

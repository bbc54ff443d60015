"""The one rule of which settings affect a run's result, for resuming, the names of sweeps and comparisons."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from vaelab.runs.record import flatten, plain

__all__ = ["bears_on_result", "comparable", "differences"]

BESIDE_RESULT = {
    "hydra": "how the command was called and its jobs launched",
    "paths": "where files lie",
    "data.root": "where data sets lie: a copy of paths.data",
    "data.source.root": "where data sets lie: a copy of data.root",
    "sweep": "which folder a sweep has",
    "name": "a label",
    "group": "a label",
    "logger": "where the numbers are sent",
    "steps_at_once": "the speed",
    "threads": "the speed; sums may differ in their last bits",
    "trainer.enable_progress_bar": "what the terminal shows",
    "callbacks.last": "how often the checkpoint for resuming is written",
    "callbacks.history": "where the numbers of every epoch are written",
    "callbacks.samples": "which pictures are drawn",
    "callbacks.latent_map": "which pictures are drawn",
    "callbacks.kl_pictures": "which pictures are drawn",
}
"""The keys that do not affect a run's numbers, with all keys below them, and what they set.

``data.path`` is not among them: two files of a user are two data sets.
"""


@cache  # a comparison asks for each key of each run, again and again
def bears_on_result(key: str) -> bool:
    """Whether two runs that differ in the config key ``key`` may differ in their numbers.

    >>> bears_on_result("model.beta"), bears_on_result("threads"), bears_on_result("paths.data")
    (True, False, False)
    """
    parts = key.split(".")
    return not any(".".join(parts[:n]) in BESIDE_RESULT for n in range(1, len(parts) + 1))


def comparable(config: Any) -> dict[str, Any]:
    """The settings of a nested config that affect the result, as ``{"model.beta": 4}``."""
    return {key: value for key, value in flatten(plain(config)).items() if bears_on_result(key)}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """``trainer.max_epochs: 10 before, 20 now`` for each key in which two flat configs differ."""
    for key in sorted({**before, **now}):
        if key not in before:
            yield f"{key}: absent before, {now[key]} now"
        elif key not in now:
            yield f"{key}: {before[key]} before, absent now"
        elif before[key] != now[key]:
            yield f"{key}: {before[key]} before, {now[key]} now"

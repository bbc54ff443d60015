"""Mistakes that the user can correct, and the exit codes of the commands. No heavy imports."""

import difflib
from collections.abc import Iterable

PROGRAM = "vaelab-train"

# exit codes
MISTAKE = 2  # a user's mistake; 1 is a run that failed
INTERRUPTED, TERMINATED = 130, 143  # as in shells: 128 + the signal's number
STOPS: dict[object, str] = {INTERRUPTED: "Ctrl-C", TERMINATED: "SIGTERM"}

MOST_NAMES = 12  # a longer list of valid names does not help in an error


class UserError(Exception):
    """A mistake in a config, a file or an option.

    Its text names the key or file, what is wrong and what would be right, in one or two lines.
    """


def reason(error: BaseException) -> str:
    """Why something failed: the user error among its causes, else the first line of its own text."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        cause = cause.__cause__
    return str(error).strip().partition("\n")[0] or type(error).__name__


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option most like ``name``, or None if none is like it."""
    found = difflib.get_close_matches(name, sorted(options), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """A sentence for the end of an error: the nearest valid name, else all of them unless they are many."""
    options = sorted(options)
    guess = nearest(name, options)
    if guess is not None:
        return f"Did you mean {guess!r}?"
    if 0 < len(options) <= MOST_NAMES:
        return f"Valid names: {', '.join(options)}."
    return "No valid name is like it."

"""Mistakes that the user can correct, and the exit codes of the commands. No heavy imports."""

import difflib
import re
from collections.abc import Iterable, Iterator

__all__ = [
    "INTERRUPTED",
    "MISTAKE",
    "PROGRAM",
    "STOPS",
    "TERMINATED",
    "DiskFull",
    "Refusal",
    "UserError",
    "causes",
    "did_you_mean",
    "first_line",
    "nearest",
    "needs_memory",
    "one_line",
    "reason",
    "shown",
]

PROGRAM = "vaelab-train"

# exit codes
MISTAKE = 2  # a user's mistake; 1 is a run that failed
INTERRUPTED, TERMINATED = 130, 143  # as in shells: 128 + the signal's number
STOPS: dict[object, str] = {INTERRUPTED: "Ctrl-C", TERMINATED: "SIGTERM"}

LONGEST = 500  # characters of a foreign message
MOST_NAMES = 12  # a longer list of valid names does not help in an error


class UserError(Exception):
    """A mistake in a config, a file or an option.

    Its text names the key or file, what is wrong and what would be right, in one or two lines.
    """


class DiskFull(Exception):
    """Nothing more can be written: the other jobs of a sweep would fail too."""


class Refusal(UserError):
    """A mistake that shows only when a run has been set up, before its first step."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, the exception that it was raised from, the exception that this one was raised from, ..."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its class if the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def one_line(error: BaseException) -> str:
    """The whole message of an error in one line, with its class where that says more, and its cause."""
    kind = type(error).__name__
    text = " ".join(str(error).split())
    says_enough = isinstance(error, ValueError | TypeError | RuntimeError | ImportError)
    text = (
        text
        if text and says_enough and not isinstance(error, SyntaxError)
        else f"{kind}: {text}".rstrip(": ")
    )
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    return text if error.__cause__ is None else f"{text.rstrip('. ')}: {one_line(error.__cause__)}"


def needs_memory(error: BaseException) -> str | None:
    """A sentence about an allocation that failed, from torch's or numpy's message; None for other errors."""
    text = str(error)
    failed = "allocate" in text and "memory" in text.lower()
    if not (isinstance(error, MemoryError) or failed or "Storage size calculation overflowed" in text):
        return None
    size = re.search(r"allocate (\d+) bytes", text)
    asked = f"{int(size[1]) / 1e9:,.1f} GB" if size else "more memory than there is"
    return f"it needs {asked} at once, which this machine can't give. Choose smaller numbers."


def reason(error: BaseException) -> str:
    """Why something failed: the message of the UserError among its causes, else its own first line."""
    return next((str(cause) for cause in causes(error) if isinstance(cause, UserError)), first_line(error))


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option most similar to ``name``; None if no option is similar."""
    found = difflib.get_close_matches(name, sorted(options), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """The last sentence of an error: the valid name most similar to ``name``, else all valid names if few."""
    options = sorted(options)
    guess = nearest(name, options)
    if guess is not None:
        return f"Did you mean {guess!r}?"
    if 0 < len(options) <= MOST_NAMES:
        return f"Valid names: {', '.join(options)}."
    return "No valid name is like it."


def shown(value: object) -> str:
    """A config's value as a command line writes it; text that YAML would read as a number keeps its quotes.

    >>> shown(None), shown(True), shown("abc"), shown("0.5")
    ('null', 'true', 'abc', '"0.5"')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return value if value.strip() and value not in ("null", "true", "false") else f'"{value}"'
        return f'"{value}"'
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

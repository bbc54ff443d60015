"""Printing to a reader that may go away, as in ``vaelab-compare | head``."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """End the program without a traceback, with a pipe's exit code 141, if what reads its output is gone."""
    try:
        yield
        sys.stdout.flush()  # here, and not when the interpreter ends, where nobody could catch it
    except BrokenPipeError:
        # what is still in the buffer must go somewhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None

"""The end of a command: a user's mistake prints one or two lines and exits with code 2.

An error that nobody foresaw prints three lines and exits with code 1; its traceback is in a file.
"""

import copy
import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from vaelab.cli.hints import error_text
from vaelab.errors import INTERRUPTED, MISTAKE, UserError, needs_memory, one_line, reason

__all__ = ["OneLine", "present_errors", "unforeseen"]


def present_errors(program: str, run: Callable[[], None], root: str = "train") -> None:
    """Call ``run``; if it raises, print a message for the user and exit with the matching code.

    Unless HYDRA_FULL_ERROR is set, Hydra prints and suppresses errors, so this function sets it during the
    call. If the user has set it, every error keeps its traceback.

    Args:
        program: the command's name, which begins each message.
        run: the command.
        root: the config in conf/ with whose keys a misspelt key is compared.
    """
    prepare_process()
    if os.environ.get("HYDRA_FULL_ERROR"):
        with pipe_may_close():
            run()
        return

    def exit_with(text: str, code: int) -> None:
        print(f"{program}: {text}", file=sys.stderr)
        sys.exit(code)

    os.environ["HYDRA_FULL_ERROR"] = "1"
    logging.raiseExceptions = False  # otherwise a closed pipe gives a traceback for every line that is logged
    try:
        with pipe_may_close():
            run()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        exit_with(error_text(error, sys.argv[1:], root), MISTAKE)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        place = f"{where.name}, line {where.line + 1}" if where else "A config file"
        exit_with(f"{place} is not valid YAML: {getattr(error, 'problem', error)}.", MISTAKE)
    except OSError as error:  # a folder can't be created or read; errors inside a job are in its record
        exit_with(f"{error.filename or ''}: {error.strerror or error}.", MISTAKE)
    except RecursionError as error:
        file = local_value(error, "full_path")
        exit_with(f"{file or 'A config'}: its defaults lead back to itself.", MISTAKE)
    except UnicodeDecodeError as error:
        file = local_value(error, "full_path") or "A config file"
        exit_with(f"{file} is not text in UTF-8: {one_line(error)}.", MISTAKE)
    except KeyboardInterrupt:
        exit_with("interrupted", INTERRUPTED)
    except Exception as error:
        with tempfile.NamedTemporaryFile(
            "w", prefix=f"{program}-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            traceback.print_exc(file=file)
        exit_with(unforeseen(error, file.name), 1)
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


def prepare_process() -> None:
    """Make the process independent of what its output and its environment can't do.

    A closed stream (``>&-``) becomes /dev/null, a character that the output can't encode becomes a question
    mark, and figures are drawn into files whatever MPLBACKEND says.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    os.environ["MPLBACKEND"] = "agg"


def local_value(error: BaseException, name: str) -> Any:
    """The variable ``name`` of the innermost function that has one, of those that the error passed."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((frame.f_locals[name] for frame in reversed(frames) if name in frame.f_locals), None)


def unforeseen(error: BaseException, file: str) -> str:
    """Three lines about an error that nobody foresaw; ``file`` contains its traceback.

    One line if memory ran out.
    """
    if needs_memory(error):
        return f"Out of memory: {needs_memory(error)} The traceback is in {file}"
    return (
        f"{type(error).__name__}: {reason(error)}\n"
        f"This error was not foreseen. Its traceback is in {file}\n"
        "Please report it with that file. HYDRA_FULL_ERROR=1 prints the traceback here."
    )


class OneLine(logging.Formatter):
    """Formats a log record without its traceback, for the terminal; the log file has it.

    In a sweep each line begins with its job.
    """

    job = ""  # of this process at the moment, such as "job 3/6"

    def format(self, record: logging.LogRecord) -> str:
        short = copy.copy(record)  # the other handlers get the record as it is
        short.exc_info = short.exc_text = short.stack_info = None
        text = super().format(short)
        return f"{OneLine.job}: {text}" if OneLine.job else text


@contextmanager
def pipe_may_close() -> Iterator[None]:
    """Exit with code 141 (128 + SIGPIPE) if the reader of the output has ended, as in ``| head``."""
    try:
        yield
        sys.stdout.flush()  # here, because the error can't be caught when the interpreter exits
    except BrokenPipeError:
        # the interpreter flushes the rest of the buffer on exit: discard it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None

"""How a command ends: a user's mistake is one or two lines and exit code 2, never a traceback."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from vaelab.cli.hints import error_text
from vaelab.errors import INTERRUPTED, MISTAKE, UserError

__all__ = ["present_errors"]


def present_errors(program: str, run: Callable[[], None], root: str = "train") -> None:
    """Call ``run``, print what it raises as a user should see it, and exit with the code for it.

    Hydra prints and swallows the errors that it catches unless HYDRA_FULL_ERROR is set, so it is set here
    while ``run`` runs. If the user has set it, every error keeps its traceback.

    Args:
        program: the command's name, with which each message begins.
        run: the command.
        root: the config in conf/ whose keys a misspelt key is compared with.
    """
    if os.environ.get("HYDRA_FULL_ERROR"):
        with pipe_may_close():
            run()
        return

    def say(text: str, code: int) -> None:
        print(f"{program}: {text}", file=sys.stderr)
        sys.exit(code)

    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with pipe_may_close():
            run()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        say(error_text(error, sys.argv[1:], root), MISTAKE)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        place = f"{where.name}, line {where.line + 1}" if where else "A config file"
        say(f"{place} is not valid YAML: {getattr(error, 'problem', error)}.", MISTAKE)
    except OSError as error:  # a folder that can't be made or read; a job records its own errors
        say(f"{error.filename or ''}: {error.strerror or error}.", MISTAKE)
    except KeyboardInterrupt:
        say("interrupted", INTERRUPTED)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


@contextmanager
def pipe_may_close() -> Iterator[None]:
    """End the program with exit code 141, a pipe's, if the reader of its output has gone: ``| head``."""
    try:
        yield
        sys.stdout.flush()  # here, since nothing could catch the error when the interpreter ends
    except BrokenPipeError:
        # the interpreter flushes what is left in the buffer: to nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None

"""The command line. Light at the door: torch and Lightning are imported inside of the job, not before.

``--help``, completion and a mistake in the config answer without them.
"""

import os
import sys
import traceback
from collections.abc import Callable

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vaelab.cli.hints import explain
from vaelab.cli.listing import answer, is_asked
from vaelab.cli.paths import conf_dir
from vaelab.cli.pipes import reader_may_leave
from vaelab.cli.sweep import Sweep
from vaelab.errors import INTERRUPTED, MISTAKE, PROGRAM, STOPS, UserError
from vaelab.runs.naming import register_resolvers

register_resolvers()  # at import: a launcher's worker processes import this module and call job


def job(cfg: DictConfig) -> None:
    """One Hydra job: a single run, or one of a multirun."""
    from vaelab.cli.run import run

    try:
        run(cfg)
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # when the other jobs have run
        # said here, since Hydra would print a line of its own
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        raise SystemExit(MISTAKE) from None


def train() -> None:
    """``vaelab-train``: compose, check, train, test, record; for each setting of a sweep in turn.

    ``--list`` and ``--explain`` only tell what there is and what would be trained.
    """
    if is_asked(sys.argv[1:]):
        present_errors(PROGRAM, lambda: answer(sys.argv[1:]))
        return
    Sweep.unfinished = 0
    run = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")(job)
    try:
        present_errors(PROGRAM, run)
    except SystemExit as stop:
        if stop.code in STOPS:
            print(f"{PROGRAM}: stopped. In a sweep, the same command goes on from here.", file=sys.stderr)
        raise
    if Sweep.unfinished:
        sys.exit(1)


def present_errors(program: str, run: Callable[[], None], root: str = "train") -> None:
    """Call ``run``; a user's mistake is shown in a line or two, without a traceback, and ends the program.

    Hydra prints and swallows what it catches, unless HYDRA_FULL_ERROR asks for everything; so that is what
    we ask for, to say it in our own words. Who sets the variable gets the tracebacks. ``root`` is the config
    whose keys a typo may have meant.
    """
    run = reader_may_leave()(run)
    wanted = os.environ.get("HYDRA_FULL_ERROR")
    if wanted:
        run()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        run()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        print(f"{program}: {explain(error, sys.argv[1:], root)}", file=sys.stderr)
        sys.exit(MISTAKE)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        place = f"{where.name}, line {where.line + 1}" if where else "A config file"
        print(f"{program}: {place} is not valid YAML: {getattr(error, 'problem', error)}.", file=sys.stderr)
        sys.exit(MISTAKE)
    except OSError as error:  # Hydra's: a folder that can't be made; a job's own are recorded by the job
        print(f"{program}: {error.filename or ''}: {error.strerror or error}.", file=sys.stderr)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


if __name__ == "__main__":
    train()

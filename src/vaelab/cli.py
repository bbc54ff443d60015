"""The command line. Light at the door: torch and Lightning are imported inside of the job, not before.

``--help``, completion and a mistake in the config answer without them.
"""

import os
import sys
import traceback
from collections.abc import Callable

import hydra
import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vaelab.errors import UserError
from vaelab.hints import explain
from vaelab.naming import register_resolvers
from vaelab.paths import conf_dir
from vaelab.sweeps import SweepTable

register_resolvers()  # at import: a launcher's worker processes import this module and call job

PROGRAM = "vaelab-train"
MISTAKE = 2  # exit code for a user's mistake; 1 for a run that failed


def job(cfg: DictConfig) -> None:
    """One Hydra job: a single run, or one of a multirun."""
    from vaelab.app import run

    try:
        run(cfg)
    except UserError as error:  # of a single run; said here, since Hydra would print a line of its own
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        raise SystemExit(MISTAKE) from None


def train() -> None:
    """``vaelab-train``: compose, check, train, test, record; for each setting of a sweep in turn."""
    SweepTable.failed_jobs = 0
    run = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")(job)
    present_errors(PROGRAM, run)
    if SweepTable.failed_jobs:
        sys.exit(1)


def present_errors(program: str, run: Callable[[], None]) -> None:
    """Call ``run``; a user's mistake is shown in a line or two, without a traceback, and ends the program.

    Hydra prints and swallows what it catches, unless HYDRA_FULL_ERROR asks for everything; so that is what
    we ask for, to say it in our own words. Who sets the variable gets the tracebacks.
    """
    wanted = os.environ.get("HYDRA_FULL_ERROR")
    if wanted:
        run()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        run()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        print(f"{program}: {explain(error, sys.argv[1:])}", file=sys.stderr)
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
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


if __name__ == "__main__":
    train()

"""``vaelab-train``. It imports torch and Lightning only after the config has passed its checks."""

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from vaelab.cli.errors import present_errors
from vaelab.cli.listing import answer, is_asked
from vaelab.cli.options import check_options
from vaelab.cli.paths import conf_dir, version_text
from vaelab.cli.resume import is_resumption, resume
from vaelab.cli.sweep import Sweep
from vaelab.errors import MISTAKE, PROGRAM, STOPS, UserError
from vaelab.runs.naming import register_resolvers

__all__ = ["job", "train"]

register_resolvers()  # at import, because a launcher's worker processes import this module and call job


def job(cfg: DictConfig) -> None:
    """One Hydra job: a single run, or one of a multirun."""
    from vaelab.cli.run import run

    try:
        run(cfg)
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # Hydra raises it again after the other jobs
        print(f"{PROGRAM}: {error}", file=sys.stderr)  # here, because Hydra would add a line
        raise SystemExit(MISTAKE) from None


def train() -> None:
    """Compose, check, train, test and record a run, or each run of a sweep.

    ``--list`` prints the options instead, ``--explain`` describes the run without training it, and
    ``--version`` prints vaelab's version, not Hydra's.
    ``resume=FOLDER`` goes on with a single run.
    """
    if "--version" in sys.argv[1:]:
        print(version_text())
        return
    if is_asked(sys.argv[1:]):
        present_errors(PROGRAM, lambda: answer(sys.argv[1:]))
        return
    if is_resumption(sys.argv[1:]):
        present_errors(PROGRAM, lambda: resume(sys.argv[1:]))
        return
    Sweep.unfinished = 0
    run = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")(job)

    def checked() -> None:
        check_options(sys.argv[1:])
        run()

    try:
        present_errors(PROGRAM, checked)
    except SystemExit as stop:
        if stop.code in STOPS and Sweep.claim is not None:
            print(f"{PROGRAM}: stopped. The same command continues a sweep.", file=sys.stderr)
        raise
    finally:
        Sweep.release()
    if Sweep.unfinished:
        sys.exit(1)


if __name__ == "__main__":
    train()

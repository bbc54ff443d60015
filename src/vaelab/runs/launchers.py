"""Hydra's launchers: whether one can run a sweep here, and the cores that it reserves for each job."""

import os
import shutil
import warnings
from importlib.util import find_spec
from typing import Any

from hydra.types import RunMode

from vaelab.errors import UserError

__all__ = ["SWEEP_PROCESS", "check_launcher", "is_orphaned", "is_out_of_time", "is_serial", "reserved_cores"]

# conf/hydra/launcher/ sets defaults over the plugins' configs of the same names, which have all keys and
# their types. Hydra 1.3 merges the two, and warns that this is deprecated.
warnings.filterwarnings("ignore", message=r"\n?'hydra/launcher/\w+' is validated against ConfigStore schema")

SWEEP_PROCESS = "VAELAB_SWEEP_PROCESS"  # a variable with the number of the process that runs a sweep
EXTRAS = {"hydra_submitit_launcher": "slurm"}
"""The extra of vaelab that installs each of Hydra's launcher plugins that are not always there."""


def check_launcher(hydra: Any) -> None:
    """Check, before any job starts, that the launcher of a sweep can work on this machine.

    Args:
        hydra: the config node ``hydra``.

    Raises:
        UserError: a plugin or a command of SLURM is missing.
    """
    name = hydra.runtime.choices["hydra/launcher"]
    plugin = ".".join(hydra.launcher["_target_"].split(".")[:2])
    extra = EXTRAS.get(plugin.rpartition(".")[2])
    if extra is not None and not _is_installed(plugin):
        raise UserError(f"hydra/launcher={name} needs a plugin: pip install 'vaelab[{extra}]'.")
    jobs = hydra.launcher.get("n_jobs")
    if jobs == 0:
        raise UserError("hydra.launcher.n_jobs=0: must be a number of jobs, or -1 for one on each core.")
    if name == "submitit_slurm":
        missing = [command for command in ("sbatch", "srun") if shutil.which(command) is None]
        if missing:
            raise UserError(
                f"hydra/launcher={name}: there is no {missing[0]} on this machine. Run it where SLURM's "
                "commands are, or rehearse with hydra/launcher=submitit_local."
            )


def reserved_cores(hydra: Any) -> int | None:
    """The cores that the launcher reserves for each job of a sweep; None if it reserves none.

    submitit reserves ``cpus_per_task``. joblib reserves none, but starts its workers with OMP_NUM_THREADS =
    cores / jobs. Other launchers run one job at a time.
    """
    if hydra.mode != RunMode.MULTIRUN:
        return None
    cores = hydra.launcher.get("cpus_per_task")
    return None if cores is None else int(cores)


def is_serial(hydra: Any) -> bool:
    """Whether the jobs of a sweep run one after another in the sweep's own process."""
    return bool(hydra.launcher["_target_"].rpartition(".")[2] == "BasicLauncher")


def is_orphaned(hydra: Any) -> bool:
    """Whether this process is a worker of joblib whose sweep has been killed.

    Such a worker would go on with the jobs that wait.
    """
    sweep = os.environ.get(SWEEP_PROCESS)
    if hydra.mode != RunMode.MULTIRUN or "joblib" not in hydra.launcher["_target_"] or not sweep:
        return False
    return str(os.getpid()) != sweep != str(os.getppid())


def is_out_of_time(error: BaseException) -> bool:
    """Whether submitit ended the job at its time limit after the maximum number of requeues."""
    return type(error).__module__.startswith("submitit.") and type(error).__name__ == "UncompletedJobError"


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False

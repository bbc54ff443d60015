"""Where the jobs of a sweep run: what a launcher needs, and how many threads a job gets. Light."""

import shutil
import warnings
from importlib.util import find_spec
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from vaelab.errors import UserError

# conf/hydra/launcher/ sets defaults over the plugins' configs of the same names, which have all keys and
# their types. Hydra 1.3 merges the two, and says each time that 1.2 would not.
warnings.filterwarnings("ignore", message=r"\n?'hydra/launcher/\w+' is validated against ConfigStore schema")

EXTRAS = {"hydra_joblib_launcher": "joblib", "hydra_submitit_launcher": "slurm"}
"""The extra of vaelab that installs each of Hydra's plugins."""


def check_launcher(hydra: Any) -> None:
    """Refuse a sweep whose launcher can't work here, before any of its jobs.

    Args:
        hydra: Hydra's node of the config.

    Raises:
        UserError: naming the extra to install, or SLURM's commands if they are missing.
    """
    name = hydra.runtime.choices["hydra/launcher"]
    plugin = ".".join(hydra.launcher["_target_"].split(".")[:2])
    extra = EXTRAS.get(plugin.rpartition(".")[2])
    if extra is not None and not _is_installed(plugin):
        raise UserError(f"hydra/launcher={name} needs a plugin: pip install 'vaelab[{extra}]'.")
    if name == "submitit_slurm":
        missing = [command for command in ("sbatch", "srun") if shutil.which(command) is None]
        if missing:
            raise UserError(
                f"hydra/launcher={name}: there is no {missing[0]} on this machine. Call it where SLURM's "
                "commands are, or rehearse with hydra/launcher=submitit_local."
            )


def set_threads(threads: int | None) -> None:
    """Set torch's threads for this job; None leaves torch's own choice, but for what a launcher reserves.

    Alone, or one after the other, jobs have the machine to themselves. joblib starts its workers with
    OMP_NUM_THREADS = cores / jobs, which torch takes up. submitit reserves ``cpus_per_task``; not all of
    them are used if torch sees fewer cores, or OMP_NUM_THREADS asks for fewer.
    """
    reserved = reserved_cores(HydraConfig.get()) if threads is None else threads
    if reserved is None:
        return
    import torch

    torch.set_num_threads(threads or min(reserved, torch.get_num_threads()))


def reserved_cores(hydra: Any) -> int | None:
    """The cores that the launcher keeps for each job of a sweep; None if it keeps none."""
    if hydra.mode != RunMode.MULTIRUN:
        return None
    cores = hydra.launcher.get("cpus_per_task")
    return None if cores is None else int(cores)


def is_out_of_time(error: BaseException) -> bool:
    """Whether submitit ends the job for good since its time was over; the command again goes on."""
    return type(error).__module__.startswith("submitit.") and type(error).__name__ == "UncompletedJobError"


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there either
        return False

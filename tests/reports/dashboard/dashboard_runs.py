"""What the tests of the dashboard look at."""

from dataclasses import dataclass

from cli_runner import Result
from support.wandb_files import WandbRun


@dataclass
class Logged:
    """A sweep of three jobs, one of which fails, and what its offline files say."""

    result: Result
    where: str | None  # what log_sweep returned
    runs: list[WandbRun]

    @property
    def training(self) -> list[WandbRun]:
        return [run for run in self.runs if run.job_type == "train"]

    @property
    def summary(self) -> WandbRun:
        """The summary run; written last if it was written more than once."""
        return [run for run in self.runs if run.job_type == "sweep"][-1]

"""Saving the dashboards at the W&B server. Whatever goes wrong there is said in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import wandb
from wandb.sdk.lib.service.service_connection import WandbApiFailedError  # of the library's API calls

from vaelab.errors import UserError
from vaelab.reports.dashboard.views import report, workspace
from vaelab.training.wandb_service import end_service_at_exit

SECONDS = 20  # for one answer of the server


def publish(entity: str, project: str, group: str | None = None) -> dict[str, str]:
    """Save a new view and a new report; returns their addresses, ``{"workspace": ..., "report": ...}``.

    Raises UserError if nobody is logged in, or the server can't be reached or refuses.
    """
    # silent: without a key W&B would ask for one; it would also print the addresses in its own way
    wandb.setup(wandb.Settings(silent=True))
    end_service_at_exit(SECONDS)
    with one_line():
        wandb.Api(timeout=SECONDS)  # asks the server who we are
    with one_line():
        try:
            page = report(entity, project, group, look_up=True).save()
        except ValueError as error:
            if "not found" not in str(error):
                raise
            raise UserError(
                f"--publish: W&B has no project {entity}/{project} that you may read. "
                "Runs make it: logger.mode=online, or wandb sync."
            ) from error
        view = workspace(entity, project, group).save()
        return {"workspace": view.url, "report": page.url}


@contextmanager
def one_line() -> Iterator[None]:
    """W&B's errors as the user's, told by their first line."""
    try:
        yield
    except (wandb.errors.Error, WandbApiFailedError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        hint = ""
        if isinstance(error, wandb.errors.AuthenticationError):  # also if there was no answer in time
            hint = " Is the server up, and the key valid (wandb login)?"
        raise UserError(f"--publish: W&B: {reason}.{hint}") from error

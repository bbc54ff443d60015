"""Saving the dashboards at the W&B server."""

import wandb

from vaelab.errors import UserError
from vaelab.reports.dashboard.views import report, workspace
from vaelab.runs.wandb_run import clause, server_problem

__all__ = ["publish"]

SECONDS = 20  # for the server's first answer


def publish(entity: str, project: str, group: str | None = None) -> dict[str, str]:
    """Save a new view and a new report; return their addresses, ``{"workspace": ..., "report": ...}``.

    Raises:
        UserError: nobody is logged in, the project does not exist, or the server is away or refuses.
    """
    try:
        problem = server_problem(SECONDS)
    except wandb.errors.Error as error:
        problem = clause(error)
    if problem is not None:
        raise UserError(f"--publish: W&B: {problem}. Is the server up, and the key valid (wandb login)?")
    try:
        page = report(entity, project, group, look_up=True).save()
        view = workspace(entity, project, group).save()
    except Exception as error:  # requests, W&B and pydantic each raise their own
        if isinstance(error, ValueError) and "not found" in str(error):
            raise UserError(
                f"--publish: W&B has no project {entity}/{project} that you may read. "
                "Runs make it: logger.mode=online, or wandb sync."
            ) from error
        raise UserError(f"--publish: W&B: {clause(error)}.") from error
    return {"workspace": view.url, "report": page.url}

"""The two dashboards as W&B objects, and the payload that saves each. Only saving needs a network."""

import json
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from vaelab.reports.dashboard import panels

__all__ = ["payload", "report", "workspace"]

TRAINING, SWEEP = "train", "sweep"  # job types: a run that trains; the run that sums a sweep up
COLUMNS = (
    "run:displayName",
    *(f"config:{key}.value" for key in ("variant", "beta")),
    "summary:verdict",
    *(f"config:{key}.value" for key in ("latent_dim", "seed")),
    *(f"summary:test/{name}" for name in ("elbo", "rate", "distortion", "active_units")),
)
MAX_RUNS = 100  # in one panel; W&B's own limit is 10
MAX_TITLE = 128  # characters of a report's title


def title(group: str | None) -> str:
    return f"vaelab: {group}" if group else "vaelab"


def runs_filter(job_type: str, group: str | None) -> str:
    """A filter for the runs of one job type, and of one group if it is given."""
    # a text, because W&B's filter objects cannot read back a name that contains a quote
    conditions = {"JobType": job_type, "Group": group}
    return " and ".join(
        f"Metric({key!r}) == {value!r}" for key, value in conditions.items() if value is not None
    )


def workspace(entity: str, project: str, group: str | None = None) -> ws.Workspace:
    """A saved view of the project with every part about training runs."""
    sections = [
        ws.Section(
            name=part.title,
            panels=list(part.panels),
            is_open=True,
            layout_settings=ws.SectionLayoutSettings(
                columns=part.columns, rows=-(-len(part.panels) // part.columns)
            ),
        )
        for part in panels.training_parts()
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=title(group),
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis=panels.STEP, max_runs=MAX_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=runs_filter(TRAINING, group),
            order=[expr.Ordering(expr.Config("beta"), ascending=True)],
            pinned_columns=list(COLUMNS),
        ),
    )


def report(entity: str, project: str, group: str | None = None, look_up: bool = False) -> wr.Report:
    """A page with the comparison from a sweep's summary run, then the same parts as the workspace.

    Args:
        look_up: name the project in the page's sets of runs too, for which W&B asks the server. Otherwise the
            runs are those of the report's own project.

    Raises:
        ValueError: with ``look_up``, the project does not exist.
    """
    place = {"entity": entity, "project": project} if look_up else {}

    def grid(part: panels.Part, job_type: str, order: wr.OrderBy) -> list[Any]:
        runs = wr.Runset(
            **place,  # type: ignore[arg-type]
            name="Sweeps" if job_type == SWEEP else "Runs",
            filters=runs_filter(job_type, group),
            order=[order],
            pinned_columns=list(COLUMNS) if job_type == TRAINING else [],
        )
        return [
            wr.H2(part.title),
            wr.P(part.text),
            wr.PanelGrid(runsets=[runs], panels=panels.place_panels(part)),
        ]

    blocks = [wr.TableOfContents(), *grid(panels.comparison(), SWEEP, wr.OrderBy("CreatedTimestamp"))]
    for part in panels.training_parts():
        blocks += grid(part, TRAINING, wr.OrderBy(wr.Config("beta"), ascending=True))
    return wr.Report(
        entity=entity,
        project=project,
        title=title(group)[:MAX_TITLE],
        description=f"The runs of {group}." if group else "All runs of the project.",
        blocks=blocks,
        width="fluid",
    )


def payload(view: ws.Workspace | wr.Report) -> dict[str, Any]:
    """What saving the view sends: its owner, name and kind, and the specification of its panels."""
    model = view._to_model()  # private; the library has no public way to see it without a server
    return {
        "entityName": view.entity,
        "projectName": view.project,
        "displayName": model.display_name,
        "type": "project-view" if isinstance(view, ws.Workspace) else "runs",
        "spec": json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True)),
    }

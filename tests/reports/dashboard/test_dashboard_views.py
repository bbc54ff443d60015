"""The workspace and the report: every panel refers to what a real run has logged, of the right runs."""

import json
import re

import pytest

from support.wandb_files import IMAGE_TYPES, VIDEO_TYPES
from vaelab.cli import dashboard as cli
from vaelab.reports.dashboard import panels, views


@pytest.fixture
def printed(capsys):
    """The two dashboards as the command prints them."""

    def run(*arguments):
        cli.run(cli.arguments(["--entity", "me", "--project", "mine", *arguments]))
        return json.loads(capsys.readouterr().out)

    return run


def workspace_panels(dashboards):
    sections = dashboards["workspace"]["spec"]["section"]["panelBankConfig"]["sections"]
    return [panel for section in sections for panel in section["panels"]]


def grids(dashboards):
    """The report's grids: the job type of the runs, the other filters' values, and the panels."""
    for block in dashboards["report"]["spec"]["blocks"]:
        if block["type"] == "panel-grid":
            [runs] = block["metadata"]["runSets"]
            job_type, *others = runs["filters"]["filters"]
            assert job_type["key"]["name"] == "jobType"
            panels = block["metadata"]["panelBankSectionConfig"]["panels"]
            yield job_type["value"], [other["value"] for other in others], panels


def missing(panel, run):
    """The keys that the panel refers to and the run does not have."""
    history = {key for row in run.history for key in row}
    config = panel["config"]
    keys = {"summary": run.summary, "config": {f"{key}.value" for key in run.config}, "": history}
    names = [config[axis] for axis in ("xAxis", "yAxis", "zAxis") if axis in config]
    names += [*config.get("metrics", []), *(column["accessor"] for column in config.get("columns", []))]
    lacking = [name for name in names if name.rpartition(":")[2] not in keys[name.rpartition(":")[0]]]
    if "metricRegex" in config and not any(re.fullmatch(config["metricRegex"], key) for key in history):
        lacking.append(config["metricRegex"])
    for key in config.get("mediaKeys", []):
        kinds = {row[key]["_type"] for row in run.history if key in row}
        if not kinds or not kinds <= IMAGE_TYPES | VIDEO_TYPES:
            lacking.append(key)
    tables = re.findall(r'"name": "pick".*?"key": {[^}]*"val": "([^"]*)"', json.dumps(config))
    return lacking + [key for key in tables if run.summary.get(key, {}).get("_type") != "table-file"]


def test_every_panel_has_its_keys(logged, printed):
    first = next(run for run in logged.training if run.exit_code == 0)
    pairs = [(panel, first) for panel in workspace_panels(printed())]
    runs = {"train": first, "sweep": logged.summary}
    pairs += [(panel, runs[job_type]) for job_type, _, drawn in grids(printed()) for panel in drawn]
    assert len(pairs) > 50
    for panel, run in pairs:
        assert missing(panel, run) == [], panel["config"]


def test_the_summary_run_is_in_no_scatter(logged, printed):
    scatters = [panel for panel in workspace_panels(printed()) if panel["viewType"] == "Scatter Plot"]
    assert scatters
    for panel in scatters:
        assert len(missing(panel, logged.summary)) >= 2


@pytest.mark.parametrize("group", [None, "sweep-1", "a 'b' \"c\""])
def test_only_the_groups_training_runs_are_shown(printed, group):
    dashboards = printed(*(["--group", group] if group else []))
    [runs] = dashboards["workspace"]["spec"]["section"]["runSets"]
    filters = [(entry["key"]["name"], entry["op"], entry["value"]) for entry in runs["filters"]["filters"]]
    assert filters == [("jobType", "=", "train"), *([("group", "=", group)] if group else [])]
    assert runs["sort"]["keys"] == [{"ascending": True, "key": {"name": "beta", "section": "config"}}]
    types, others, _ = zip(*grids(dashboards), strict=True)
    assert list(types) == ["sweep"] + ["train"] * len(panels.training_parts())
    assert list(others) == [[group] if group else []] * len(types)


def test_a_long_name_is_cut_for_the_report():
    assert len(views.report("me", "mine", "g" * 300).title) == 128

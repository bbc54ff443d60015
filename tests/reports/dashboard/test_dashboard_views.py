"""The workspace and the report: every panel refers to what a real run has logged, of the right runs."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard_runs import Logged

from support.wandb_files import IMAGE_TYPES, VIDEO_TYPES, WandbRun
from vaelab.cli import dashboard as cli
from vaelab.reports.dashboard import panels, views


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    cli.run(cli.arguments(["--entity", "me", "--project", "mine", *arguments]))
    return json.loads(capsys.readouterr().out)


def workspace_panels(sent: dict[str, Any]) -> list[dict[str, Any]]:
    sections = sent["spec"]["section"]["panelBankConfig"]["sections"]
    return [panel for section in sections for panel in section["panels"]]


def grids(sent: dict[str, Any]) -> list[dict[str, Any]]:
    return [block["metadata"] for block in sent["spec"]["blocks"] if block["type"] == "panel-grid"]


def grid_panels(grid: dict[str, Any]) -> list[dict[str, Any]]:
    return grid["panelBankSectionConfig"]["panels"]


def job_type(grid: dict[str, Any]) -> str:
    [runs] = grid["runSets"]
    [wanted] = [f["value"] for f in runs["filters"]["filters"] if f["key"]["name"] == "jobType"]
    return wanted


def missing(panel: dict[str, Any], run: WandbRun) -> list[str]:
    """The keys that the panel refers to and the run does not have."""
    history = {key for row in run.history for key in row}
    config = panel["config"]
    lacking = []
    axes = [config[axis] for axis in ("xAxis", "yAxis", "zAxis") if axis in config]
    for name in [*axes, *config.get("metrics", []), *(c["accessor"] for c in config.get("columns", []))]:
        section, _, key = name.rpartition(":")
        if section == "summary":
            known = key in run.summary
        elif section == "config":
            known = key.removesuffix(".value") in run.config
        else:
            known = key in history
        if not known:
            lacking.append(name)
    if "metricRegex" in config and not any(re.fullmatch(config["metricRegex"], key) for key in history):
        lacking.append(config["metricRegex"])
    for key in config.get("mediaKeys", []):
        kinds = {row[key]["_type"] for row in run.history if key in row}
        if not kinds or not kinds <= IMAGE_TYPES | VIDEO_TYPES:
            lacking.append(key)
    for key in table_keys(config):
        if run.summary.get(key, {}).get("_type") != "table-file":
            lacking.append(key)
    return lacking


def table_keys(node: Any) -> Iterator[str]:
    """The names in ``runs.summary["name"]``, wherever they stand in a query panel."""
    if isinstance(node, dict):
        if node.get("name") == "pick":
            yield node["inputs"]["key"]["val"]
        for child in node.values():
            yield from table_keys(child)


def test_every_panel_of_the_workspace_has_its_keys(logged: Logged, capsys):
    [first, *_] = [run for run in logged.training if run.exit_code == 0]
    drawn = workspace_panels(printed(capsys)["workspace"])
    assert {panel["viewType"] for panel in drawn} == {
        "Scatter Plot",
        "Run History Line Plot",
        "Media Browser",
        "Parallel Coordinates Plot",
        "Run Comparer",
    }
    for panel in drawn:
        assert missing(panel, first) == [], panel["config"]


def test_every_panel_of_the_report_has_its_keys(logged: Logged, capsys):
    [first, *_] = [run for run in logged.training if run.exit_code == 0]
    for grid in grids(printed(capsys)["report"]):
        run = {"train": first, "sweep": logged.summary}[job_type(grid)]
        for panel in grid_panels(grid):
            assert missing(panel, run) == [], panel["config"]


def test_the_check_of_keys_finds_a_wrong_one(logged: Logged):
    panel = {"config": {"xAxis": "summary:test/elbow", "metrics": ["val/elbo"], "mediaKeys": ["val/elbo"]}}
    with pytest.raises(TypeError):  # a number is no picture
        missing(panel, logged.training[0])
    panel["config"]["mediaKeys"] = ["samples/none"]
    assert missing(panel, logged.training[0]) == ["summary:test/elbow", "samples/none"]


def test_rate_and_distortion_are_coloured_by_beta(capsys):
    [panel, *_] = workspace_panels(printed(capsys)["workspace"])
    assert panel["config"] == {
        "chartTitle": "Rate and distortion",
        "xAxis": "summary:test/rate",
        "yAxis": "summary:test/distortion",
        "zAxis": "config:beta.value",
        "zAxisLogScale": True,
    }


def test_the_summary_run_is_in_no_scatter(logged: Logged, capsys):
    for panel in workspace_panels(printed(capsys)["workspace"]):
        if panel["viewType"] == "Scatter Plot":
            assert len(missing(panel, logged.summary)) >= 2


@pytest.mark.parametrize("group", ["sweep-1", "a 'b' \"c\""])
def test_only_the_groups_training_runs_are_shown(capsys, group):
    sent = printed(capsys, "--group", group)
    [runs] = sent["workspace"]["spec"]["section"]["runSets"]
    wanted = [(f["key"]["name"], f["op"], f["value"]) for f in runs["filters"]["filters"]]
    assert wanted == [("jobType", "=", "train"), ("group", "=", group)]
    assert runs["filters"]["filters"][1]["connector"] == "AND"
    assert runs["sort"]["keys"] == [{"ascending": True, "key": {"name": "beta", "section": "config"}}]
    types = [job_type(grid) for grid in grids(sent["report"])]
    assert types == ["sweep"] + ["train"] * len(panels.training_parts())
    for grid in grids(sent["report"]):
        assert grid["runSets"][0]["filters"]["filters"][1]["value"] == group
    assert sent["report"]["displayName"] == f"vaelab: {group}"


def test_without_a_group_all_training_runs_are_shown(capsys):
    [runs] = printed(capsys)["workspace"]["spec"]["section"]["runSets"]
    assert [f["value"] for f in runs["filters"]["filters"]] == ["train"]


def test_a_long_name_is_cut_for_the_report():
    assert len(views.report("me", "mine", "g" * 300).title) == 128


def test_help_imports_nothing_heavy():
    code = (
        "import sys, vaelab.cli.dashboard as cli\n"
        "try: cli.arguments(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'wandb', 'wandb_workspaces', 'torch', 'matplotlib'} & set(sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "--publish" in ended.stdout


def test_the_script_is_the_command(tmp_path):
    script = Path(__file__).resolve().parents[3] / "scripts" / "dashboard.py"
    command = [sys.executable, str(script), "--entity", "me", "--project", "mine"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert set(json.loads(ended.stdout)) == {"workspace", "report"}
    assert not list(tmp_path.iterdir())

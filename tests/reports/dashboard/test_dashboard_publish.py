"""Publishing, against a stub of the server on the loopback."""

import json
import re
import socket
import sys
from pathlib import Path

import pytest

from support.wandb_home import wandb_home
from support.wandb_stub import ENTITY, WandbStub
from vaelab.cli import dashboard as cli
from vaelab.reports.dashboard import publish
from vaelab.reports.dashboard.views import payload, report, workspace

PLACE = ("--entity", ENTITY, "--project", "mine", "--group", "sweep-1", "--publish")


def command(monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str, **environ: str) -> int:
    """`vaelab-dashboard *arguments`; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["vaelab-dashboard", *arguments])
    with wandb_home(home, **environ):
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


def without_ids(spec: object) -> str:
    """The specification as text, without what is drawn anew each time or only known to the server."""
    text = json.dumps(spec, sort_keys=True)
    return re.sub(r'"(__id__|id)": "[^"]*"', '"id"', text)


def test_both_are_saved_as_they_are_printed(monkeypatch, tmp_path, capsys):
    with WandbStub() as stub:
        stub.projects.add("mine")
        assert command(monkeypatch, tmp_path, *PLACE, **stub.environ) == 0
    assert stub.unknown == []
    saved = {view["type"]: view for view in stub.views}
    assert set(saved) == {"project-view", "runs"}
    group = "sweep-1"
    page, view = payload(report(ENTITY, "mine", group)), payload(workspace(ENTITY, "mine", group))
    for kind, expected in {"project-view": view, "runs": page}.items():
        assert saved[kind]["displayName"] == expected["displayName"] == "vaelab: sweep-1"
    assert without_ids(json.loads(saved["project-view"]["spec"])) == without_ids(view["spec"])
    published = json.loads(saved["runs"]["spec"])
    for block in published["blocks"]:
        for runs in block.get("metadata", {}).get("runSets", []):
            assert runs.pop("project") == {"entityName": ENTITY, "name": "mine", "id": "internal-mine"}
    assert without_ids(published) == without_ids(page["spec"])

    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{stub.url}/{ENTITY}/mine?nw={saved['project-view']['name'].removeprefix('nw-').removesuffix('-v')}",
        f"{stub.url}/{ENTITY}/mine/reports/vaelab:-sweep-1--{saved['runs']['id']}",
    ]
    assert err == ""


def refused(code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """What was said, after a look at how."""
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("vaelab-dashboard: --publish: W&B")
    return line


def test_without_a_login(monkeypatch, tmp_path, capsys):
    line = refused(command(monkeypatch, tmp_path, *PLACE, WANDB_MODE="online"), capsys)
    assert "wandb login" in line


def test_without_a_login_nobody_is_asked_for_a_key(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("wandb.errors.term._sys_stderr_isatty", lambda: True)
    monkeypatch.setattr("wandb.errors.term._sys_stdin_isatty", lambda: True)
    refused(command(monkeypatch, tmp_path, *PLACE, WANDB_MODE="online"), capsys)


def test_with_a_refused_key(monkeypatch, tmp_path, capsys):
    with WandbStub(refuse_key=True) as stub:
        line = refused(command(monkeypatch, tmp_path, *PLACE, **stub.environ), capsys)
    assert "wandb login" in line


def test_without_a_server(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(publish, "SECONDS", 2)
    with WandbStub() as stub:
        environ = stub.environ
    line = refused(command(monkeypatch, tmp_path, *PLACE, **environ), capsys)
    assert environ["WANDB_BASE_URL"] in line


def test_with_a_server_that_says_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(publish, "SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as mute, WandbStub() as stub:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        code = command(monkeypatch, tmp_path, *PLACE, **{**stub.environ, "WANDB_BASE_URL": url})
    assert url in refused(code, capsys)


def test_a_project_that_is_not_there(monkeypatch, tmp_path, capsys):
    with WandbStub() as stub:
        line = refused(command(monkeypatch, tmp_path, *PLACE, **stub.environ), capsys)
    assert f"no project {ENTITY}/mine" in line
    assert stub.views == []


def test_a_server_that_refuses_to_save(monkeypatch, tmp_path, capsys):
    with WandbStub() as stub:
        stub.projects.add("mine")
        monkeypatch.setattr(WandbStub, "answer_upsertView", None)
        line = refused(command(monkeypatch, tmp_path, *PLACE, **stub.environ), capsys)
    assert "does not know upsertView" in line

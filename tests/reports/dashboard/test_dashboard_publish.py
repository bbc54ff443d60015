"""Publishing, against a stub of the server on the loopback."""

import json
import re
import socket
import sys

import pytest

from support.wandb_home import wandb_home
from support.wandb_stub import ENTITY, WandbStub
from vaelab.cli import dashboard as cli
from vaelab.reports.dashboard import publish
from vaelab.reports.dashboard.views import payload, report, workspace


@pytest.fixture
def command(monkeypatch, tmp_path):
    """``vaelab-dashboard --publish`` with these variables; returns its exit code."""
    arguments = ["--entity", ENTITY, "--project", "mine", "--group", "sweep-1", "--publish"]
    monkeypatch.setattr(sys, "argv", ["vaelab-dashboard", *arguments])

    def run(**environ):
        with wandb_home(tmp_path, **environ):
            try:
                cli.main()
            except SystemExit as stop:
                return int(stop.code or 0)
        return 0

    return run


def without_ids(spec):
    """The specification as text, without what is drawn anew each time or only known to the server."""
    return re.sub(r'"(__id__|id)": "[^"]*"', '"id"', json.dumps(spec, sort_keys=True))


def test_both_are_saved_as_they_are_printed(command, capsys):
    with WandbStub() as stub:
        stub.projects.add("mine")
        assert command(**stub.environ) == 0
    assert stub.unknown == []
    saved = {view["type"]: view for view in stub.views}
    specs = {kind: json.loads(view["spec"]) for kind, view in saved.items()}
    for block in specs["runs"]["blocks"]:
        for runs in block.get("metadata", {}).get("runSets", []):
            assert runs.pop("project") == {"entityName": ENTITY, "name": "mine", "id": "internal-mine"}
    for view in (report(ENTITY, "mine", "sweep-1"), workspace(ENTITY, "mine", "sweep-1")):
        expected = payload(view)
        assert saved[expected["type"]]["displayName"] == expected["displayName"] == "vaelab: sweep-1"
        assert without_ids(specs[expected["type"]]) == without_ids(expected["spec"])
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{stub.url}/{ENTITY}/mine?nw={saved['project-view']['name'].removeprefix('nw-').removesuffix('-v')}",
        f"{stub.url}/{ENTITY}/mine/reports/vaelab:-sweep-1--{saved['runs']['id']}",
    ]
    assert err == ""


def assert_refused(code, capsys, reason):
    """The command ended with one line that gives the reason."""
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith("vaelab-dashboard: --publish: W&B")
    assert reason in line


def test_without_a_login_nobody_is_asked_for_a_key(command, monkeypatch, capsys):
    monkeypatch.setattr("wandb.errors.term._sys_stderr_isatty", lambda: True)
    monkeypatch.setattr("wandb.errors.term._sys_stdin_isatty", lambda: True)
    assert_refused(command(WANDB_MODE="online"), capsys, "wandb login")


@pytest.mark.parametrize(
    ("options", "projects", "reason"),
    [
        ({"refuse_key": True}, {"mine"}, "wandb login"),
        ({}, set(), f"no project {ENTITY}/mine"),
        ({}, {"mine"}, "does not know upsertView"),
    ],
    ids=["key", "project", "saving"],
)
def test_what_the_server_refuses(command, monkeypatch, capsys, options, projects, reason):
    monkeypatch.setattr(WandbStub, "answer_upsertView", None)
    with WandbStub(**options) as stub:
        stub.projects |= projects
        assert_refused(command(**stub.environ), capsys, reason)
    assert stub.views == []


@pytest.mark.parametrize("listens", [False, True], ids=["away", "mute"])
def test_a_server_that_does_not_answer(command, monkeypatch, capsys, listens):
    monkeypatch.setattr(publish, "SECONDS", 2)
    with WandbStub() as stub, socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        if not listens:
            server.close()
        code = command(**{**stub.environ, "WANDB_BASE_URL": url})
    assert_refused(code, capsys, url)

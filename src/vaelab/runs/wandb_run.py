"""Weights & Biases runs whose failures do not stop the training.

If the server does not answer or refuses the key, vaelab waits ``init_timeout`` seconds and the W&B run is
offline. If the connection is lost later, the end of the run waits ``finish_timeout`` seconds. W&B writes all
that is logged below ``<outputs>/wandb`` in any case; ``facts["problem"]`` says why it is not at the server
and how to upload it.
"""

import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Any

import wandb

from vaelab.errors import UserError, first_line

__all__ = ["FailsafeRun", "clause", "server_problem", "start_run"]

log = logging.getLogger(__name__)

SETTINGS = {
    "console": "off",
    "show_info": False,  # W&B prints only warnings and errors, and does not prompt for a key
    "finish_timeout_raises": True,
    "x_transaction_log_flush_interval": 2.0,  # seconds; a killed run loses what was not flushed
    # finish_timeout does not count an alert that is being sent, which W&B retries 20 times by default. With
    # these settings it takes at most 94 s if the server is silent, and outlasts a restart of half a minute.
    "x_graphql_timeout_seconds": 10.0,
    "x_graphql_retry_max": 5,
    "x_graphql_retry_wait_max_seconds": 10.0,
}


class FailsafeRun:
    """A ``wandb.Run`` whose methods do not raise: ``facts["problem"]`` says what failed first.

    Attributes:
        facts: what the run's record contains: id, project, entity, mode (the actual one), requested (the mode
            in the config), folder (of all W&B runs), url (if online), problem (one line, or None).
    """

    def __init__(self, run: Any, mode: str, requested: str, folder: Path, problem: str | None = None) -> None:
        self._run = run
        self._failed = False
        self.facts: dict[str, Any] = {
            "id": run.id,
            "project": run.project,
            "entity": run.entity or None,
            "mode": mode,
            "requested": requested,
            "folder": str(folder),
            "url": run.url if mode == "online" else None,
            "problem": problem,
        }

    @property
    def dir(self) -> str:
        return str(self._run.dir)

    def define_metric(self, name: str, **options: Any) -> None:
        self._attempt(self._run.define_metric, name, **options)

    def log(self, data: dict[str, Any]) -> None:
        self._attempt(self._run.log, data)

    def alert(self, **options: Any) -> None:
        self._attempt(self._run.alert, **options)

    def update_summary(self, values: dict[str, Any]) -> None:
        self._attempt(self._run.summary.update, values)

    def finish(self, exit_code: int = 0) -> None:
        """End the run; what is not uploaded after ``finish_timeout`` seconds remains on disk only."""
        self._attempt(self._run.finish, exit_code=exit_code)
        if self._failed:
            with suppress(Exception, SystemExit):  # SystemExit: W&B's service process was killed
                wandb.teardown()  # so that the next run starts a new service process

    def _attempt(self, method: Callable[..., Any], *args: Any, **options: Any) -> None:
        try:
            method(*args, **options)
        except Exception as error:
            if not self._failed:
                self._failed = True
                self._note(f"{type(error).__name__}: {clause(error)}")

    def _note(self, reason: str) -> None:
        option = "--include-online " if self.facts["mode"] == "online" else ""
        command = f"wandb sync {option}{Path(self.dir).parent}"
        problem = f"{reason}. What was logged is on disk; upload it with: {command}"
        log.warning("W&B: %s", problem)
        before = self.facts["problem"]
        self.facts["problem"] = f"{before}. {problem}" if before else problem


def start_run(
    outputs: Path,
    mode: str = "offline",
    run_id: str | None = None,
    init_timeout: float = 20.0,
    finish_timeout: float = 30.0,
    **options: Any,
) -> FailsafeRun:
    """Start a W&B run below ``outputs/wandb``; an online run becomes offline if the server can't be used.

    Args:
        outputs: the folder of all outputs, so that one ``wandb sync`` covers all runs of a sweep.
        mode: offline, online or disabled.
        run_id: the run to continue; None for a new one. Under W&B's sweep agent, the agent's run is used.
        init_timeout: seconds to wait for the server's first answer.
        finish_timeout: seconds to wait for the upload at the run's end; 0 to wait until it is done.
        options: further arguments of ``wandb.init``: project, entity, name, group, config, ...

    Raises:
        UserError: W&B refuses the options, whatever the mode.
    """
    outputs = outputs.absolute()
    folder = outputs / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    # by default W&B writes staging files and logs into the home directory
    os.environ.setdefault("WANDB_DATA_DIR", str(folder / "data"))
    os.environ.setdefault("WANDB_CACHE_DIR", str(folder / "cache"))
    timeouts = {"init_timeout": init_timeout, "finish_timeout": finish_timeout}

    def start(mode: str) -> Any:
        if mode != "disabled":
            wandb.setup(wandb.Settings(show_info=False))
        return wandb.init(
            dir=str(outputs),
            mode=mode,  # type: ignore[arg-type]
            id=run_id,
            resume="allow" if run_id else None,
            reinit="create_new",  # otherwise the next job of a multirun continues this run
            settings=wandb.Settings(**SETTINGS, **timeouts),  # type: ignore[arg-type]
            **options,
        )

    problem = None
    if mode == "online":
        try:
            problem = server_problem(init_timeout)
            if problem is None:
                return FailsafeRun(start("online"), "online", mode, folder)
        except Exception as error:
            problem = clause(error)
            server_problem.cache_clear()
            wandb.teardown()  # otherwise W&B's service process refuses the id of the failed attempt
        problem += f". The run is offline; upload it with: wandb sync {folder}"
        log.warning("W&B cannot be used online: %s", problem)
    actual = "offline" if mode == "online" else mode
    try:
        return FailsafeRun(start(actual), actual, mode, folder, problem)
    except wandb.errors.Error as error:
        raise UserError(f"logger.mode={mode}: W&B cannot start: {clause(error)}.") from error


@cache
def server_problem(seconds: float) -> str | None:
    """Why the W&B server does not answer; None if it answers.

    The answer is cached per process, so that only the first job of a sweep waits for a server that is down.

    Raises:
        wandb.errors.UsageError: no user is logged in. This answer is not cached.
    """
    session = wandb.setup(wandb.Settings(show_info=False))
    # asked without the SDK: its process can go on waiting for a silent server for minutes, and we for it
    silence = _silence(session.settings.base_url, seconds)
    if silence is not None:
        return silence
    try:
        wandb.Api(timeout=max(1, round(seconds)))
    except wandb.errors.AuthenticationError as error:  # also if there was no answer in time
        return clause(error)
    return None


def _silence(url: str, seconds: float) -> str | None:
    """Why nothing at ``url`` answers; None if something does, whatever the answer is."""
    try:
        with urllib.request.urlopen(url, timeout=seconds):
            return None
    except urllib.error.HTTPError:
        return None
    except (OSError, HTTPException) as error:
        return f"{url} does not answer ({clause(error)}); once it does, it needs a wandb login"


def clause(error: Exception) -> str:
    """The first line of an error's message without its full stop, as part of a longer sentence."""
    return first_line(error).rstrip(". ")

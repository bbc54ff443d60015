"""W&B runs that can't stop the work they report on.

A server that is away, refuses the key or dies in the middle costs a bounded wait and one warning; the data
stay on disk, and ``facts["problem"]`` says why and how to upload them.
"""

import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import wandb
from wandb.sdk.lib.runid import generate_id

from vaelab.errors import UserError
from vaelab.training.wandb_service import end_service, end_service_at_exit

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0  # wandb's own 15 s lose everything of a run that is killed before
INIT_TIMEOUT, FINISH_TIMEOUT = 20.0, 30.0  # seconds; wandb's own are 90 and for ever
FINISH_MARGIN = 3.0  # seconds after which we take W&B to have forgotten its own limit
EXIT_SECONDS = 10.0  # more than that, for W&B's process to end after an online run

PREFIX = re.compile(r"^wandb:\s*(?:WARNING|ERROR)?")

_unavailable: dict[str, str] = {}  # server -> why; the next jobs of this process don't wait for it again


class Steady:
    """An object of W&B's whose methods don't raise: a failure goes to ``note`` and the call returns None."""

    def __init__(self, target: Any, note: Callable[[Exception], None]) -> None:
        self._target, self._note = target, note

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy and pickle ask before __init__
            raise AttributeError(name)
        value = getattr(self._target, name)
        if name in ("summary", "config"):
            return Steady(value, self._note)
        return self._steadied(value) if callable(value) else value

    def __getitem__(self, key: str) -> Any:
        return self._target[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._steadied(self._target.__setitem__)(key, value)

    def _steadied(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except Exception as error:
                return self._note(error)

        return call


class SteadyRun(Steady):
    """A ``wandb.Run`` that goes on whatever happens to W&B.

    Attributes:
        facts: what the record says of the run: id, project, entity, mode (as it came to be), requested (as it
            was asked for), folder (of all runs), url (online), problem (None if all is well; one line).
    """

    def __init__(
        self,
        run: Any,
        requested: str,
        mode: str,
        folder: Path,
        problem: str | None,
        patience: float | None = None,
    ) -> None:
        super().__init__(run, self._failed)
        self._broken = False
        self._patience = patience
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

    def finish(self, exit_code: int = 0) -> None:
        """End the run, in ``finish_timeout`` seconds at most; note if some data have not arrived."""
        finish = partial(self._steadied(self._target.finish), exit_code=exit_code)
        if not in_time(finish, self._patience):
            self._broken = True  # what fails from now on has been said
            self._say("the upload did not complete: Timed out finishing run. What is missing is on disk")
            end_service(FINISH_MARGIN)
            return
        if _said.lost and self.facts["mode"] == "online" and not self._broken:
            self._say(f"the upload did not complete: {_said.lost}. What is missing is on disk")
        if self._broken:
            end_service()

    def _failed(self, error: Exception) -> None:
        if not self._broken:
            self._broken = True
            what = f"{type(error).__name__}: {_reason(error)}"
            self._say(f"logging failed: {what}. What was logged until then is on disk")

    def _say(self, what: str) -> None:
        problem = f"{what}; upload it with: {self._upload()}"
        log.warning("W&B: %s", problem)
        before = self.facts["problem"]
        self.facts["problem"] = f"{before}. {problem}" if before else problem

    def _upload(self) -> str:
        option = "--include-online " if self.facts["mode"] == "online" else ""
        return f"wandb sync {option}{Path(self._target.dir).parent}"


def in_time(action: Callable[[], object], seconds: float | None) -> bool:
    """Whether the action came to its end in so many seconds (None: however long it takes).

    W&B's own limit leaves out some requests: an alert on its way to a server that is gone holds up the end of
    the run for minutes.
    """
    if seconds is None:
        action()
        return True
    thread = threading.Thread(target=action, name="wandb-finish", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def start_run(
    *,
    project: str,
    outputs: Path,
    mode: str = "offline",
    entity: str | None = None,
    name: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] = (),
    notes: str | None = None,
    config: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    init_timeout: float = INIT_TIMEOUT,
    finish_timeout: float = FINISH_TIMEOUT,
) -> SteadyRun:
    """Start a W&B run below ``outputs/wandb``: online if asked for and possible, offline if not.

    Args:
        run_id: the run to go on with; None for a new one. A run that the environment names, as a W&B sweep
            agent does, comes before either.
        init_timeout, finish_timeout: seconds to wait for the server, at the beginning and at the end.

    Raises:
        UserError: W&B refuses the settings, whatever the mode.
    """
    outputs = outputs.absolute()
    outputs.mkdir(parents=True, exist_ok=True)
    # staging files and logs of wandb's own would otherwise go to the home directory
    os.environ.setdefault("WANDB_DATA_DIR", str(outputs / "wandb" / "data"))
    os.environ.setdefault("WANDB_CACHE_DIR", str(outputs / "wandb" / "cache"))
    named = os.environ.get("WANDB_RUN_ID")
    in_sweep = bool(os.environ.get("WANDB_SWEEP_ID"))  # the agent has chosen project, entity and run
    own_id = named or run_id or generate_id()

    def init(mode: str) -> Any:
        if mode != "disabled":
            wandb.setup()
        wandb.termsetup(wandb.Settings(silent=True), _said)
        _said.lost = None
        return wandb.init(
            project=None if in_sweep else project,
            entity=None if in_sweep else entity,
            id=None if named or in_sweep else own_id,
            resume="allow" if run_id and not named else None,  # offline, wandb sync will append
            name=name,
            group=group,
            job_type=job_type,
            tags=list(tags),
            notes=notes,
            config=dict(config or {}),
            dir=str(outputs),
            mode=mode,  # type: ignore[arg-type]
            reinit="create_new",  # else the next job of a multirun continues this run
            settings=run_settings(init_timeout, finish_timeout),
        )

    problem = None
    if mode == "online":
        end_service_at_exit(finish_timeout + EXIT_SECONDS)
        # W&B takes 0 for no limit
        patience = finish_timeout + FINISH_MARGIN if finish_timeout else None
        server = wandb.setup().settings.base_url
        before = set(outputs.glob(f"wandb/run-*-{own_id}"))
        problem = _unavailable.get(server)
        if problem is None:
            try:
                return SteadyRun(init("online"), mode, "online", outputs / "wandb", None, patience)
            except Exception as error:
                problem = _reason(error)
                if not isinstance(error, wandb.errors.UsageError):  # such as no login, which takes no time
                    _unavailable[server] = problem
            end_service()  # else the id is taken, by an attempt that has left no data
            for folder in set(outputs.glob(f"wandb/run-*-{own_id}")) - before:
                shutil.rmtree(folder, ignore_errors=True)
        problem += f". The run goes on offline; upload it with: wandb sync {outputs / 'wandb'}"
        log.warning("W&B can't be used online: %s", problem)
    began = "offline" if mode == "online" else mode
    try:
        return SteadyRun(init(began), mode, began, outputs / "wandb", problem)
    except wandb.errors.Error as error:
        raise UserError(f"logger.mode={mode}: W&B can't start: {_reason(error)}.") from error


def run_settings(init_timeout: float, finish_timeout: float) -> wandb.Settings:
    """What is the same in every run of ours; times in seconds. We say ourselves what is worth saying."""
    return wandb.Settings(
        console="off",
        finish_timeout=finish_timeout,
        init_timeout=init_timeout,
        silent=True,
        x_transaction_log_flush_interval=FLUSH_SECONDS,
    )


class _Said:
    """What W&B would print goes into our log. It says nowhere else that some data did not arrive."""

    lost: str | None = None

    def info(self, message: str) -> None:
        log.debug("%s", _plain(message))

    def warning(self, message: str) -> None:
        text = _plain(message)
        if "Timed out finishing" in text or "will not be synced" in text:
            self.lost = self.lost or text.split(". ")[0].rstrip(".")
        else:
            log.warning("W&B: %s", text)

    error = warning


_said = _Said()


def _plain(message: str) -> str:
    """``wandb: WARNING ...`` without what goes before the words, in one line."""
    return " ".join(PREFIX.sub("", line).strip() for line in message.splitlines())


def _reason(error: Exception) -> str:
    """The first line of an error, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")

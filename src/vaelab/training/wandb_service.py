"""The end of W&B's own process, in bounded time.

``wandb.teardown()``, which W&B also calls when the program ends, waits for that process; and that, with a
request on its way to a server that took the connection and says nothing, waits for ever.
"""

import atexit
import os
import threading
from contextlib import suppress
from typing import Any

from wandb.sdk import wandb_setup

SECONDS = 10.0


def end_service(seconds: float = SECONDS) -> None:
    """Be rid of W&B's process, whatever its state; the next call of W&B starts another.

    What it has not written or sent after so many seconds it does not write or send.
    """
    process = _process()
    killer = threading.Timer(seconds, process.kill) if process is not None else None
    if killer is not None:
        killer.daemon = True
        killer.start()
    with suppress(Exception, SystemExit):  # the second if the process ended in any way but well
        wandb_setup.teardown()
    if killer is not None:
        killer.cancel()
    os.environ.pop("WANDB_SERVICE", None)  # if it is another program's, a teardown leaves it


def end_service_at_exit(seconds: float) -> None:
    """End it when the program ends, before W&B would."""
    atexit.unregister(end_service)
    atexit.register(end_service, seconds)


def _process() -> Any | None:
    """The process, if it is a child of this one. W&B has no public name for it."""
    place: Any = wandb_setup
    for name in ("_singleton", "_connection", "_proc", "_process"):
        place = getattr(place, name, None)
    return place

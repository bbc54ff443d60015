"""One way out for every picture: a file in the run's folder and an image in every logger that takes them."""

from pathlib import Path

import pytorch_lightning as pl
from PIL import Image

from vaelab.runs.files import replacing


def is_due(trainer: pl.Trainer, every_n_epochs: int | None) -> bool:
    """Is this validation, in training, one of every n epochs to draw at? (None, 0: never.)"""
    if trainer.state.fn != "fit" or trainer.sanity_checking or not every_n_epochs:
        return False
    return (trainer.current_epoch + 1) % every_n_epochs == 0


def publish(trainer: pl.Trainer, key: str, picture: Image.Image) -> None:
    """Write ``<run folder>/<key>.png`` and log the picture under ``key``; on rank 0 alone."""
    if not trainer.is_global_zero:
        return
    path = Path(trainer.default_root_dir) / f"{key}.png"
    with replacing(path, durable=False) as temporary:
        picture.save(temporary)
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            logger.log_image(key, [picture], step=trainer.global_step)


def publish_animation(trainer: pl.Trainer, key: str, gif: bytes) -> None:
    """Write ``<run folder>/<key>.gif`` and log it as a video under ``<key>_animated``; on rank 0 alone.

    The key is another than the still picture's: W&B wants one kind of media under a key.
    """
    if not trainer.is_global_zero:
        return
    path = Path(trainer.default_root_dir) / f"{key}.gif"
    with replacing(path, durable=False) as temporary:
        temporary.write_bytes(gif)
    for logger in trainer.loggers:
        if hasattr(logger, "log_video"):
            # a GIF's path is taken as it is: W&B needs moviepy for arrays alone
            logger.log_video(f"{key}_animated", [str(path)], step=trainer.global_step)

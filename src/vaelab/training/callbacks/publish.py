"""Publish pictures: a file in the run's folder, and an image in every logger that supports images."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vaelab.errors import reason
from vaelab.runs.files import replacing

__all__ = ["drawing", "is_due", "publish", "publish_animation", "write_picture"]

log = logging.getLogger(__name__)


@contextmanager
def drawing(key: str) -> Iterator[None]:
    """Log that ``key`` could not be drawn if the block raises: a picture does not end a training."""
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__}: {reason(error)}"
        log.warning("%s could not be drawn: %s", key, text, exc_info=error)


def is_due(trainer: pl.Trainer, every_n_epochs: int | None) -> bool:
    """Whether this validation belongs to the fit and to every n-th epoch; False if n is None or 0."""
    if trainer.state.fn != "fit" or trainer.sanity_checking or not every_n_epochs:
        return False
    return (trainer.current_epoch + 1) % every_n_epochs == 0


def publish(trainer: pl.Trainer, key: str, picture: Image.Image) -> None:
    """Write ``<run folder>/<key>.png`` and log the picture under ``key``, on rank 0 only."""
    if not trainer.is_global_zero:
        return
    path = Path(trainer.default_root_dir) / f"{key}.png"
    write_picture(path, picture)
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):  # from the file: W&B would encode a picture once more
            logger.log_image(key, [str(path)], step=trainer.global_step)


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a picture as PNG, with its texts."""
    with replacing(path, durable=False) as temporary:
        picture.save(temporary, pnginfo=texts(picture))


def texts(picture: Image.Image) -> PngInfo:
    """The texts in a picture's ``info``, such as where its content lies (``figures.style.CONTENT``)."""
    info = PngInfo()
    for key, value in picture.info.items():
        if isinstance(key, str) and isinstance(value, str):
            info.add_text(key, value)
    return info


def publish_animation(trainer: pl.Trainer, key: str, gif: bytes) -> None:
    """Write ``<run folder>/<key>.gif`` and log it as a video under ``<key>_animated``, on rank 0 only.

    The key differs from the still picture's, because W&B allows one media type per key.
    """
    if not trainer.is_global_zero:
        return
    path = Path(trainer.default_root_dir) / f"{key}.gif"
    with replacing(path, durable=False) as temporary:
        temporary.write_bytes(gif)
    for logger in trainer.loggers:
        if hasattr(logger, "log_video"):
            # W&B uploads a GIF from its path as it is; arrays would need moviepy
            logger.log_video(f"{key}_animated", [str(path)], step=trainer.global_step)

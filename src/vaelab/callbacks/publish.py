"""One way out for every picture: a PNG in the run's folder and an image in every logger that takes them."""

from pathlib import Path

import pytorch_lightning as pl
from PIL import Image

from vaelab.files import replacing


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

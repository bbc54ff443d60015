"""Load a finished run from its folder: the model with its weights, the record and the pictures."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vaelab.errors import UserError, first_line
from vaelab.figures.pictures import sample_grids
from vaelab.functional.images import to_float
from vaelab.models.autoencoder import Autoencoder
from vaelab.runs.files import archive_damage, digest
from vaelab.runs.record import FILE_NAME, check_finished, read_record
from vaelab.training.assembly import build_autoencoder, build_data
from vaelab.training.trust import inside, stored_config
from vaelab.types import RunContext

__all__ = ["Run", "load"]

SHOWN = 256  # held-out images from which pictures are drawn if the run drew none


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: the run's folder.
        record: its ``results.json``.
        model: in evaluation mode, with the weights with which the record's metrics were measured.
        trust: the packages whose parts may be built (:func:`load`).
    """

    folder: Path
    record: dict[str, Any]
    model: Autoencoder
    trust: Sequence[str] = ()

    @property
    def metrics(self) -> dict[str, Any]:
        """``{"test/elbo": -25.0, ...}``; vectors are lists with an entry per latent dimension."""
        metrics: dict[str, Any] = self.record["metrics"]
        return metrics

    def encode(self, x: Tensor, y: Tensor | None = None) -> Any:
        """Images x (B, C, H, W) -> q(z|x): ``loc`` and ``scale`` (B, D); labels y (B,) if conditional."""
        return self.model.encode(x, y)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Codes z (..., D) -> mean images E[x|z], (..., C, H, W)."""
        return self.model.decode(z, y)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """n mean images E[x|z] for z ~ p(z), (n, C, H, W)."""
        return self.model.sample(n, seed)

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Images x (B, C, H, W) -> E[x | z = posterior mean], (B, C, H, W)."""
        return self.model.reconstruct(x, y)

    def figures(self) -> dict[str, Image.Image]:
        """name -> picture: those in the run's folder; if it has none, sample grids drawn from its model."""
        files = sorted(self.folder.glob("*/*.png"))
        if files:
            return {f"{file.parent.name}/{file.stem}": read_picture(file) for file in files}
        data = build_data(stored_config(self.record["config"], self.folder / FILE_NAME, self.trust))
        images = data.held_out.batch(torch.arange(min(SHOWN, len(data.held_out))))
        x = to_float(images.x.to(self.model.device))
        y = None if images.y is None else images.y.to(self.model.device)
        grids = sample_grids(self.model, x, y, data.value_range)
        return {f"samples/{name}": grid for name, grid in grids.items()}


def load(
    folder: str | Path, weights: str | None = None, device: str = "cpu", trust: Sequence[str] = ()
) -> Run:
    """Load the run in ``folder``, which may come from a stranger.

    Only tensors and plain types are unpickled; only parts of vaelab, torch.nn, torch.optim, Lightning's
    callbacks and torchmetrics are built; the record names no file outside of the folder.

    >>> run = vaelab.load("outputs/runs/...")                                        # doctest: +SKIP
    >>> run.sample(16).shape                                                         # doctest: +SKIP
    torch.Size([16, 1, 8, 8])

    Args:
        weights: a checkpoint in the folder; by default the one with which the record's metrics were measured.
        trust: packages of your own whose parts the run's config may name, such as ``["mypackage."]``.

    Raises:
        UserError: the folder contains no run; its weights are missing, damaged or from an older vaelab; or
            the config names a part of a package that is not trusted.
    """
    folder = Path(folder)
    try:
        record = read_record(folder)
    except FileNotFoundError:
        raise UserError(f"There is no {FILE_NAME} in {folder}: it is not the folder of a run.") from None
    except ValueError as error:
        raise UserError(f"{folder / FILE_NAME} can't be read: {error}") from None
    if not weights and record.get("weights") is None:
        raise UserError(f"The run in {folder} has no weights: its status is {record.get('status')}.")
    try:
        check_finished(record)
    except ValueError as error:
        raise UserError(f"{folder / FILE_NAME} is damaged: {error}.") from error
    file = folder / weights if weights else inside(folder, record["weights"], folder / FILE_NAME)
    run = Run(folder, record, load_model(file, device, trust), trust)
    known = None if weights else record.get("weights_sha256")
    if known is not None and digest(file) != known:
        raise UserError(
            f"{file} is damaged or replaced: it is not the file that {FILE_NAME} was written for."
        )
    return run


def load_model(file: Path, device: str = "cpu", trust: Sequence[str] = ()) -> Autoencoder:
    """The model of a checkpoint, in evaluation mode.

    Raises:
        UserError: there is no such file, it is damaged, an older vaelab wrote it, or it names what is not
            trusted.
    """
    if not file.is_file():
        raise UserError(f"There are no weights {file}.")
    damage = archive_damage(file)
    if damage is not None:
        raise UserError(f"{file} is not a readable checkpoint of a run ({damage}).")
    try:
        checkpoint = torch.load(file, map_location=device, weights_only=True)
        extra, state = checkpoint["vaelab"], checkpoint["state_dict"]
    except Exception as error:  # torch raises exceptions of any type for damaged files
        raise UserError(f"{file} is not a readable checkpoint of a run ({type(error).__name__}).") from error
    if "context" not in extra:
        raise UserError(f"{file} was written by an older vaelab. Train the run again, or use that version.")
    config = stored_config(extra["config"], file, trust)
    model = build_autoencoder(config, RunContext.from_plain(extra["context"]))
    prefix = "model."
    model.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    return model.to(device).eval()


def read_picture(file: Path) -> Image.Image:
    """Read a picture and close its file.

    Raises:
        UserError: it is damaged, or larger than Pillow's limit (``Image.MAX_IMAGE_PIXELS``).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as picture:
                picture.load()
                return picture.copy()
    except (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{file} is not a readable picture: {first_line(error)}") from error

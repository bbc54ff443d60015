"""Load a finished run from its folder: the model with its weights, the record and the pictures."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaelab.data.scaling import Scaling
from vaelab.errors import UserError, first_line
from vaelab.figures.pictures import sample_grids
from vaelab.functional.images import to_float
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.posteriors import placed
from vaelab.runs.curve import point_folder
from vaelab.runs.files import archive_damage, digest
from vaelab.runs.find import find_run
from vaelab.runs.places import with_data_found
from vaelab.runs.record import FILE_NAME, check_finished, read_record
from vaelab.training.assembly import build_autoencoder, build_data
from vaelab.training.code_priors import load_code_prior
from vaelab.training.trust import inside, stored_config
from vaelab.types import RunContext

__all__ = ["Run", "find_device", "load"]

ROUNDING = 1e-3  # by which images in [0, 1] may leave it
SHOWN = 256  # held-out images from which pictures are drawn if the run drew none


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: the run's folder.
        record: its ``results.json``.
        model: in evaluation mode, with the weights with which the record's metrics were measured.
        context: what the model knows of its data: the shape and the range of an image.
        trust: the packages whose parts may be built (:func:`load`).

    ``encode``, ``decode`` and ``reconstruct`` take tensors, arrays and whatever ``numpy.asarray`` takes, and
    give tensors on the model's device. Images of dtype uint8 are grey levels from 0 to 255. Images are in the
    units of the data, whatever ``data.scale`` was; ``run.model`` takes and gives scaled ones.
    """

    folder: Path
    record: dict[str, Any]
    model: Autoencoder
    context: RunContext
    trust: Sequence[str] = ()

    @property
    def metrics(self) -> dict[str, Any]:
        """``{"test/elbo": -25.0, ...}``; vectors are lists with an entry per latent dimension."""
        metrics: dict[str, Any] = self.record["metrics"]
        return metrics

    def at(self, beta: float | None = None) -> Autoencoder:
        """The ordinary model of a multi-rate run at one beta, by default at 1, or in the middle of its range.

        >>> vaelab.load("outputs/runs/...").at(beta=2.5)                              # doctest: +SKIP

        Raises:
            UserError: the beta is outside of the range of the training, or the run has a single one.
        """
        try:
            return self.model.at(beta)
        except ValueError as error:
            raise UserError(f"{self.record['name']}: {error}.") from error

    def encode(self, x: Any, y: Any = None, beta: float | None = None) -> Any:
        """Images x (B, C, H, W) -> q(z|x): ``loc`` and ``scale`` (B, D); labels y (B,) if conditional.

        Where latents are maps, they are (B, C', h, w): :attr:`latent_shape`.
        A multi-rate run takes a ``beta``, here and in what follows (:meth:`at`).

        Raises:
            UserError: the shape of the images or their range is not that of the run's data, or a conditional
                model does not know the labels.
        """
        images = self._images(x)
        return placed(self.at(beta).encode(images, self._labels(y, len(images))), self.latent_shape)

    def decode(self, z: Any, y: Any = None, beta: float | None = None) -> Tensor:
        """Codes z (..., D), or maps (..., C', h, w) -> mean images E[x|z], (..., C, H, W)."""
        codes, shape = _tensor("codes", z).to(self.model.device), self.latent_shape
        if codes.shape[-len(shape) :] != shape:
            expected = ", ".join(map(str, shape))
            raise UserError(f"expected codes (..., {expected}); got {tuple(codes.shape)}.")
        codes = codes.flatten(-len(shape))
        return self._unscaled(self.at(beta).decode(codes, self._labels(y)))

    def sample(self, n: int, seed: int = 0, beta: float | None = None, code_prior: bool = False) -> Tensor:
        """n mean images E[x|z] for z ~ p(z), (n, C, H, W).

        With ``code_prior``, z is drawn from the prior that ``vaelab-evaluate eval=code_prior`` has fitted.

        Raises:
            UserError: the run has no codes, no such prior has been fitted, or to other codes.
        """
        model, prior = self.at(beta), None
        if code_prior:
            prior = load_code_prior(self.folder, self.record, model.posterior, model.device)
        return self._unscaled(model.sample(n, seed, prior=prior))

    def reconstruct(self, x: Any, y: Any = None, beta: float | None = None) -> Tensor:
        """Images x (B, C, H, W) -> E[x | z = posterior mean], (B, C, H, W). It raises what encode raises."""
        images = self._images(x)
        return self._unscaled(self.at(beta).reconstruct(images, self._labels(y, len(images))))

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of one z: (D,), or (C', h, w) where it is a map. ``run.model`` has it as D numbers."""
        return self.model.latent_shape

    @property
    def scaling(self) -> Scaling | None:
        """How ``data.scale`` scaled the images: ``apply`` and ``undo``; None if they were not scaled."""
        return Scaling.from_plain(self.context.scaling)

    def _unscaled(self, x: Tensor) -> Tensor:
        return x if self.scaling is None else self.scaling.undo(x)

    def _images(self, x: Any) -> Tensor:
        images = to_float(_tensor("images", x)).to(self.model.device)
        shape = ", ".join(map(str, self.context.image_shape))
        low, high = self.context.value_range
        bounded = low >= 0 and high <= 1 and self.scaling is None
        low, high = (0.0, 1.0) if bounded else (low, high)
        margin = ROUNDING if bounded else high - low  # other images of unbounded data may go further
        expected = f"expected images (N, {shape}) in [{low:g}, {high:g}]"
        if self.scaling is not None:
            expected += f" once scaled (data.scale={self.scaling.mode})"
        if images.ndim != 4 or images.shape[1:] != self.context.image_shape:
            raise UserError(f"{expected}; got {tuple(images.shape)}.")
        if self.scaling is not None:
            images = self.scaling.apply(images)
        least, most = (end.item() for end in images.aminmax()) if len(images) else (low, high)
        if math.isnan(least):
            raise UserError(f"{expected}; got NaN.")
        if least < low - margin or most > high + margin:
            far = f"down to {least:g}" if least < low - margin else f"up to {most:g}"
            grey = " Grey levels from 0 to 255 have dtype uint8." if bounded and least >= 0 else ""
            raise UserError(f"{expected}; got values {far}.{grey}")
        return images

    def _labels(self, y: Any, number: int | None = None) -> Tensor | None:
        """The labels of ``number`` images, or of codes; None for a model that takes none."""
        if not self.model.condition.features:
            return None
        labels = None if y is None else _tensor("labels", y)
        if labels is not None and number is not None and labels.shape != (number,):
            raise UserError(f"expected labels ({number},), one for each image; got {tuple(labels.shape)}.")
        try:
            self.model.condition.check(labels)
        except ValueError as error:
            raise UserError(f"{error}.") from error
        return None if labels is None else labels.long().to(self.model.device)

    def figures(self, beta: float | None = None) -> dict[str, Image.Image]:
        """name -> picture: those in the run's folder; if it has none, sample grids drawn from its model.

        At a ``beta`` of a multi-rate run, those of this point of its curve.
        """
        folder = self.folder if beta is None else self.folder / point_folder(beta)
        files = sorted(folder.glob("*/*.png"))
        if files:
            return {f"{file.parent.name}/{file.stem}": read_picture(file) for file in files}
        config = with_data_found(self.record["config"], self.folder, self.record)
        data = build_data(stored_config(config, self.folder / FILE_NAME, self.trust))
        images = data.held_out.batch(torch.arange(min(SHOWN, len(data.held_out))))
        x = to_float(images.x.to(self.model.device))
        y = None if images.y is None else images.y.to(self.model.device)
        grids = sample_grids(self.at(beta), x, y, data.value_range)
        return {f"samples/{name}": grid for name, grid in grids.items()}


def _tensor(what: str, values: Any) -> Tensor:
    """Anything array-like as a tensor without gradients.

    Raises:
        UserError: it is not a table of numbers.
    """
    if isinstance(values, Tensor):
        return values.detach()
    try:
        return torch.as_tensor(np.array(values))  # a copy: numpy's may be read-only
    except (TypeError, ValueError) as error:
        raise UserError(f"the {what} are not an array of numbers: {first_line(error)}") from error


def load(run: str | Path, weights: str | None = None, device: str = "cpu", trust: Sequence[str] = ()) -> Run:
    """Load a finished run, which may come from a stranger.

    Only tensors and plain types are unpickled; only parts of vaelab, torch.nn, torch.optim, Lightning's
    callbacks and torchmetrics are built; the record names no file outside of the folder.

    >>> run = vaelab.load("outputs/runs/...")                                        # doctest: +SKIP
    >>> run.sample(16).shape                                                         # doctest: +SKIP
    torch.Size([16, 1, 8, 8])

    Args:
        run: the run's folder, its ``results.json`` or a checkpoint in it; or its name below ``outputs/runs``
            or ``outputs/sweeps``, such as ``demo/03-beta1``.
        weights: a checkpoint in the folder; by default the one with which the record's metrics were measured.
        device: cpu, cuda, cuda:1, ...; auto for a GPU if there is one.
        trust: packages of your own whose parts the run's config may name, such as ``["mypackage."]``.

    Raises:
        UserError: there is no such run; its weights are missing, damaged or from an older vaelab; the config
            names a part of a package that is not trusted; or the device is not there.
    """
    device = find_device(device)
    folder, checkpoint = find_run(str(run), Path("outputs"))
    weights = weights or checkpoint
    try:
        record = read_record(folder)
    except ValueError as error:
        raise UserError(f"{folder / FILE_NAME} can't be read: {error}") from None
    if not weights and record.get("weights") is None:
        raise UserError(f"The run in {folder} has no weights: its status is {record.get('status')}.")
    try:
        check_finished(record)
    except ValueError as error:
        raise UserError(f"{folder / FILE_NAME} is damaged: {error}.") from error
    file = folder / weights if weights else inside(folder, record["weights"], folder / FILE_NAME)
    model, context = load_model(file, device, trust)
    known = None if weights else record.get("weights_sha256")
    if known is not None and digest(file) != known:
        raise UserError(
            f"{file} is damaged or replaced: it is not the file that {FILE_NAME} was written for."
        )
    return Run(folder, record, model, context, trust)


def find_device(name: str) -> str:
    """The name of the device; for ``auto``, "cuda" if there is a GPU, else "cpu".

    Raises:
        UserError: there is no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name} can't be used here: {first_line(error)}") from error
    return name


def load_model(file: Path, device: str = "cpu", trust: Sequence[str] = ()) -> tuple[Autoencoder, RunContext]:
    """The model of a checkpoint, in evaluation mode, and what it knows of its data.

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
    context = RunContext.from_plain(extra["context"])
    model = build_autoencoder(config, context)
    prefix = "model."
    model.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    return model.to(device).eval(), context


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

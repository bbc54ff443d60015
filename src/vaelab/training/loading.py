"""Trained models back from disk."""

from pathlib import Path

import torch
from omegaconf import OmegaConf

from vaelab.errors import UserError
from vaelab.models.autoencoder import Autoencoder
from vaelab.runs.record import FILE_NAME, read_record
from vaelab.training.assembly import build_autoencoder
from vaelab.types import RunContext


def load(run: str | Path, weights: str | None = None, device: str = "cpu") -> Autoencoder:
    """The model of a finished run, in evaluation mode: ``encode``, ``decode``, ``sample``, ``reconstruct``.

    ``run`` is the run's folder. ``weights`` names a checkpoint in it; without, those are taken that the
    record's metrics were measured with. Nothing is unpickled but tensors and plain types.

    >>> model = vaelab.load("outputs/runs/...")                                      # doctest: +SKIP
    >>> model.sample(16).shape                                                       # doctest: +SKIP
    torch.Size([16, 1, 8, 8])
    """
    folder = Path(run)
    try:
        record = read_record(folder)
    except FileNotFoundError:
        raise UserError(f"There is no {FILE_NAME} in {folder}: it is not the folder of a run.") from None
    except ValueError as error:
        raise UserError(f"{folder / FILE_NAME} can't be read: {error}") from None
    name = weights or record["weights"]
    if name is None:
        raise UserError(f"The run in {folder} has no weights: its status is {record['status']}.")
    file = folder / name
    if not file.is_file():
        raise UserError(f"There are no weights {file}.")
    try:
        checkpoint = torch.load(file, map_location=device, weights_only=True)
        extra, state = checkpoint["vaelab"], checkpoint["state_dict"]
    except Exception as error:  # torch raises whatever damaged bytes lead it to
        raise UserError(f"{file} is not a readable checkpoint of a run ({type(error).__name__}).") from error
    if "context" not in extra:
        raise UserError(f"{file} was written by an older vaelab. Train the run again, or use that version.")
    model = build_autoencoder(OmegaConf.create(extra["config"]), RunContext.from_plain(extra["context"]))
    prefix = "model."
    model.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    return model.to(device).eval()

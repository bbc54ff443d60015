"""The file of a prior that was fitted to a run's codes after its training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vaelab.errors import UserError
from vaelab.models.pixelcnn import PixelCNN
from vaelab.models.posteriors import Posterior
from vaelab.runs.files import archive_damage, replacing
from vaelab.training.assembly import REMEDIES

__all__ = ["WITH_CODES", "load_code_prior", "save_code_prior"]

FILE_NAME = "code_prior.pt"  # in the run's folder
WITH_CODES = REMEDIES["codes"]


def save_code_prior(folder: Path, network: PixelCNN, record: Mapping[str, Any]) -> None:
    """Write the network's weights, and the digest of the run's weights whose codes it was fitted to."""
    content = {"network": network.state_dict(), "weights_sha256": record.get("weights_sha256")}
    with replacing(folder / FILE_NAME) as temporary:
        torch.save(content, temporary)


def load_code_prior(
    folder: Path, record: Mapping[str, Any], posterior: Posterior, device: torch.device | str = "cpu"
) -> PixelCNN:
    """The network of a run's folder, which may come from a stranger: only tensors and plain types are read.

    Its size is that of its tensors; the codes are those of the run's ``posterior``.

    Raises:
        UserError: the run has no codes, or the file is missing, damaged, not finite, or of other codes.
    """
    if "codes" not in posterior.provides:
        raise UserError(f"{folder} is no run with codes, over which a prior could be fitted. {WITH_CODES}")
    file = folder / FILE_NAME
    fitting = f"vaelab-evaluate {folder} eval=code_prior force=true"
    if not file.is_file():
        raise UserError(f"There is no {file}: {fitting} fits a prior to codes.")
    damage = archive_damage(file)
    if damage is not None:
        raise UserError(f"{file} is not a readable prior ({damage}): {fitting} writes another.")
    try:
        content = torch.load(file, map_location=device, weights_only=True)
        state, weights = content["network"], content["weights_sha256"]
        layers = len({name.split(".")[1] for name in state if name.startswith("layers.")})
        width = len(state["position"])
    except Exception as error:  # torch raises exceptions of any type for damaged files
        raise UserError(
            f"{file} is not a readable prior ({type(error).__name__}): {fitting} writes another."
        ) from error
    if weights != record.get("weights_sha256"):
        raise UserError(f"{file} was fitted to codes of other weights: {fitting} fits it again.")
    try:
        with torch.device("meta"):  # allocates nothing, whatever size the file gives
            network = PixelCNN(posterior.code_shape, posterior.number_of_codes, width, layers)
        network.load_state_dict(state, assign=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{file} is a prior over other codes: {fitting} fits it again.") from error
    # an expanded tensor, which would fill the memory, is none that was trained
    if not all(w.is_floating_point() and w.is_contiguous() and w.isfinite().all() for w in state.values()):
        raise UserError(f"{file} holds weights that are no finite numbers: {fitting} fits it again.")
    return network.float().to(device).eval().requires_grad_(False)

"""The number of threads that torch uses in a run."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from vaelab.data.datamodule import DataModule
from vaelab.functional.images import to_float
from vaelab.models.autoencoder import Autoencoder
from vaelab.types import Batch

__all__ = ["batch_flops", "forward_flops", "is_small", "set_threads"]

SMALL = 5e8  # floating-point operations of a batch's forward pass


def forward_flops(model: Autoencoder, image: Batch) -> int:
    """Floating-point operations of encoder and decoder for a batch of one image."""
    model = model.at()  # of a multi-rate model that of one beta
    x = to_float(image.x).to(model.dtype)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        q = model.posterior_parameters(x, image.y)
        model.likelihood_parameters(q.loc[None], image.y)
    return int(counter.get_total_flops())


def batch_flops(model: Autoencoder, data: DataModule) -> int:
    """Floating-point operations of the forward pass of a training batch."""
    return forward_flops(model, data.train.batch(torch.tensor([0]))) * data.batch_size


def is_small(flops: int) -> bool:
    """Whether one thread trains a model with such :func:`batch_flops` about as fast as several.

    The MLP on 28x28 images, and smaller.

    Measured on two cores in ms per step, with one and two threads, while other processes were busy: MLP 512
    on 8x8 digits, batch 64: 3.8 and 64; MLP 400 on 28x28, batch 128: 18 and 161. The threads of a small
    model wait for each other in every operation. Of a convolutional network on 28x28 images several pay.
    """
    return flops < SMALL


def set_threads(threads: int | None, reserved: int | None = None) -> None:
    """Set torch's number of threads.

    Args:
        threads: the number; None for torch's default, but at most ``reserved``.
        reserved: the cores that the launcher of a sweep reserves for this run; None if it reserves none. It
            is only a limit, because torch may see fewer cores or OMP_NUM_THREADS may ask for fewer.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    elif reserved is not None:
        torch.set_num_threads(min(reserved, torch.get_num_threads()))

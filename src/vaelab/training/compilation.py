"""The training step's pass through the model under ``torch.compile``."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from vaelab.errors import UserError, one_line
from vaelab.models.autoencoder import Autoencoder
from vaelab.types import Noise

__all__ = ["CompiledPass", "training_pass"]

Pass = tuple[Tensor, dict[str, Tensor], Any]  # the loss (), the terms (), the parameters of q(z|x)


def training_pass(model: Autoencoder, x: Tensor, noise: Noise, step: int | Tensor, y: Tensor | None) -> Pass:
    """What a training step needs of :meth:`Autoencoder.forward`."""
    output = model(x, noise, step, y)
    return output.loss, output.terms, output.stats.q


class CompiledPass:
    """:func:`training_pass` of ``model`` as one graph: the same numbers, but for the rounding of fused sums.

    The number of images is a variable of the graph and the step a tensor, so that neither the last batch of
    an epoch nor a schedule compiles anew.

    Args:
        mode: "default", "reduce-overhead" or "max-autotune" (see ``torch.compile``); the last two replay CUDA
            graphs on a GPU.

    Raises:
        UserError: at the first call, if torch can't make one graph of the pass, or has no compiler.
    """

    def __init__(self, model: Autoencoder, mode: str) -> None:
        self.model = model
        self.mode = mode
        self._pass = torch.compile(partial(training_pass, model), mode=mode, fullgraph=True, dynamic=True)
        self._compiled = False

    def __call__(self, x: Tensor, noise: Noise, step: int, y: Tensor | None) -> Pass:
        at = torch.tensor(step, device=x.device)
        if self._compiled:
            loss, terms, q = self._pass(x, noise, at, y)
        else:
            with torch.no_grad():  # a fault of a part shows as its own error, not as the compiler's
                self.model(x, noise, step, y)
            try:
                loss, terms, q = self._pass(x, noise, at, y)
            except RuntimeError as error:
                raise UserError(
                    f"compile={self.mode}: torch can't compile this training step: {one_line(error)}\n"
                    "compile=null trains without."
                ) from error
            self._compiled = True
        # a CUDA graph writes each replay's results to the same memory
        terms = {name: term.detach().clone() for name, term in terms.items()}
        return loss, terms, q._make(part.detach().clone() for part in q)

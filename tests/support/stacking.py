"""Models that differ in numbers alone train together: torch.func stacks them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from vaelab.models.autoencoder import Autoencoder
from vaelab.types import Noise


def assert_stacked_as_alone(
    models: Sequence[Autoencoder],
    x: Tensor,
    noises: Sequence[Noise],
    step: int = 0,
    y: Tensor | None = None,
    tolerance: float = 1e-4,
) -> None:
    """Losses and gradients of the stack are those of the models one by one, and the losses differ."""
    arguments = {"step": torch.tensor(step), "y": y}

    def loss(parameters: dict, buffers: dict, noise: Noise) -> Tensor:
        return functional_call(models[0], (parameters, buffers), (x, noise), arguments).loss

    noise = Noise(*map(torch.stack, zip(*noises, strict=True)))
    gradients, losses = vmap(grad_and_value(loss))(*stack_module_state(list(models)), noise)
    assert len(set(losses.tolist())) == len(models)
    for k, model in enumerate(models):
        alone = model(x, noises[k], step, y).loss
        torch.testing.assert_close(losses[k], alone)
        weights = list(model.parameters())
        expected = torch.autograd.grad(alone, weights, allow_unused=True, materialize_grads=True)
        for (name, _), gradient in zip(model.named_parameters(), expected, strict=True):
            torch.testing.assert_close(gradients[name][k], gradient, rtol=tolerance, atol=tolerance / 10)

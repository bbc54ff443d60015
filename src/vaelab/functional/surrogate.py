"""A number whose gradient is that of another."""

from torch import Tensor

__all__ = ["with_gradient_of"]


def with_gradient_of(value: Tensor, surrogate: Tensor) -> Tensor:
    """``value``, to the last bit, with the gradient of ``surrogate``, which has the same shape and is finite.

    >>> import torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> held = with_gradient_of(x.clamp(max=2.0), 5 * x)
    >>> held.item(), torch.autograd.grad(held, x)[0].item()
    (2.0, 5.0)
    """
    return value.detach() + (surrogate - surrogate.detach())

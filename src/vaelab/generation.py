"""What a model can show: prior samples, reconstructions, traversals, interpolations, as image tensors.

Every function returns images (rows, columns, C, H, W), ready for :func:`vaelab.figures.image_grid`. They
depend on the model and the given images alone, so that the same picture of two runs compares the models.
"""

from typing import Any

import torch
from torch import Tensor

from vaelab.autoencoder import Autoencoder


def prior_samples(model: Autoencoder, rows: int = 8, columns: int = 8) -> Tensor:
    """Mean images of the same z ~ p(z) for every model of the same latent dimension."""
    return model.sample(rows * columns).unflatten(0, (rows, columns))


def reconstructions(model: Autoencoder, x: Tensor, y: Tensor | None = None) -> Tensor:
    """Rows in turn: the images x (N, C, H, W), 8 a row, and below each its reconstruction."""
    pairs = torch.stack([x, model.reconstruct(x, y)])  # (2, N, C, H, W)
    columns = min(8, len(x))
    pairs = pairs[:, : len(x) // columns * columns]
    return pairs.unflatten(1, (-1, columns)).transpose(0, 1).flatten(0, 1)


def order_by_kl(model: Autoencoder, q: Any) -> Tensor:
    """Latent dimensions from the most to the least used: by mean KL, or by Var(mu) where there is no KL."""
    kl = model.posterior.kl(q, model.prior).mean(0)
    used = q.loc.var(0, correction=0) if kl.isnan().any() else kl
    return used.argsort(descending=True)


def traversals(
    model: Autoencoder,
    x: Tensor,
    steps: int = 9,
    dimensions: int = 10,
    width: float = 3.0,
    y: Tensor | None = None,
) -> Tensor:
    """One row for each of the most used dimensions: that dimension moves, the others stay.

    The fixed part is the first image's posterior mean. The moving part covers mean +- ``width`` standard
    deviations of the aggregate posterior q(z_d), estimated on x: its variance is Var(mu) + E[sigma^2].
    For a VAE that is close to [-3, 3]; for an autoencoder it is wherever its codes lie. A conditional model
    keeps the first image's label.
    """
    q = model.encode(x, y)
    chosen = order_by_kl(model, q)[:dimensions]
    center = q.loc.mean(0)
    spread = (q.loc.var(0, correction=0) + q.scale.square().mean(0)).sqrt()
    z = q.loc[0].repeat(len(chosen), steps, 1)
    for row, d in enumerate(chosen):
        z[row, :, d] = center[d] + spread[d] * torch.linspace(-width, width, steps, device=z.device)
    return model.decode(z, None if y is None else y[0])


def interpolations(
    model: Autoencoder, x: Tensor, steps: int = 9, rows: int = 6, y: Tensor | None = None
) -> Tensor:
    """One row for each pair (x_2i, x_2i+1): straight lines between their posterior means.

    A conditional model decodes the whole row with the label of x_2i.
    """
    n = 2 * min(rows, len(x) // 2)
    loc = model.encode(x[:n], None if y is None else y[:n]).loc
    share = torch.linspace(0, 1, steps, device=loc.device)[:, None]
    labels = None if y is None else y[0:n:2, None]
    return model.decode(torch.lerp(loc[0::2, None], loc[1::2, None], share), labels)

"""The aggregate posterior q(z) in relation to the images and the prior: the parts of the rate, and holes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vaelab.functional.aggregate import Gaussians, aggregate_brackets
from vaelab.functional.holes import HoleRates, hole_rates, null_hole_rate
from vaelab.functional.randomness import normal_rows

__all__ = ["AggregatePosterior"]

OPERATIONS = 10**9  # N M D: at most about 5 s on one core
CORRELATED = 6  # times as long for posteriors with correlated dimensions, or a hierarchy's networks
QUICK_DRAWS = 4  # of the hole rate, in the validations of a training

ROWS = ("position", "z", "z_prior", "loc", "scale", "log_q", "log_p", "factorised", "tril", "features")


class AggregatePosterior(Metric):
    """Brackets of the parts of the rate and the hole rate, of ``images`` images of a split.

    With one z_n ~ q(z|x_n) for each of these N images:

    - ``mutual_information_low``, ``_high``; ``total_correlation_low``, ``_high``; ``dimension_wise_kl_low``,
      ``_high``; ``aggregate_kl_low``, ``_high``: see
      :func:`~vaelab.functional.aggregate.aggregate_brackets`. The mixtures have the posteriors of the other
      N - 1 images, or, where ``training_posteriors`` is given (at the test), those of M random training
      images. The third is NaN where the prior is no product of dimensions.
    - ``aggregate_posteriors``: M, without z_n's own: at most ``posteriors``, and N M D <= ``operations``.
    - ``hole_rate``, ``hole_rate_matched`` and their standard errors ``_se``: see
      :func:`~vaelab.functional.holes.hole_rates`. The standard errors are those of the draws of z, of the
      prior and of the noise: they say nothing of other images or of another training. In hundreds of
      dimensions, as of a latent map, a low rate does not rule out holes (:mod:`vaelab.functional.holes`).
    - ``hole_rate_null``: that of a model without holes (:func:`~vaelab.functional.holes.null_hole_rate`).
    - ``aggregate_images``: N.

    The brackets are in nats. They are NaN where q has no density of z (a deterministic posterior, codes).
    """

    full_state_update = False

    def __init__(self, images: int = 2000, posteriors: int = 10_000, operations: int = OPERATIONS) -> None:
        super().__init__()
        self.images = images
        self.posteriors = posteriors
        self.operations = operations
        for state in ROWS:
            self.add_state(state, [], dist_reduce_fx="cat")
        self._split, self._quick = "val", False
        self._sample_prior: Callable[[Tensor], Tensor] | None = None
        self._training_posteriors: Callable[[int], Any] | None = None
        self._components: Callable[[Tensor, Tensor], Gaussians] | None = None

    def update(
        self, position: Tensor, z: Tensor, z_prior: Tensor, loc: Tensor, scale: Tensor, log_q: Tensor,
        log_p: Tensor, kl: Tensor, q: Any = None, split: str = "val",
        sample_prior: Callable[[Tensor], Tensor] | None = None,
        training_posteriors: Callable[[int], Any] | None = None,
        components: Callable[[Tensor, Tensor], Gaussians] | None = None, quick: bool = False,
    ) -> None:  # fmt: skip
        """Add a batch of images.

        Args:
            position: (B,). z: (S, B, D), the first sample is used. log_q, log_p: (S, B). The others: (B, D).
            q: all parameters of q(z|x); its ``tril`` (B, D, D) or its ``features`` (B, P) if it has some.
            split: the name of the split, which selects the noise of further draws.
            sample_prior: standard normal noise (N, D) -> draws of the prior; without it one draw is all.
            training_posteriors: M -> q(z|x) of at most M random training images.
            components: features (M, P) and a draw of each posterior (M, D) -> the posteriors, where they are
                no Gaussians (:class:`~vaelab.models.Ladder`).
            quick: few draws of the hole rate, for validations during training.
        """
        self._split, self._quick = split, quick
        self._sample_prior, self._training_posteriors = sample_prior, training_posteriors
        self._components = components
        chosen = position < self.images
        rows = {
            "position": position, "z": z[0], "z_prior": z_prior, "loc": loc, "scale": scale,
            "log_q": log_q[0], "log_p": log_p[0], "factorised": kl.isfinite().all(-1),
        }  # fmt: skip
        rows |= {name: getattr(q, name) for name in ("tril", "features") if hasattr(q, name)}
        for name, values in rows.items():
            getattr(self, name).append(_at_least_float32(values)[chosen])

    def compute(self) -> dict[str, Tensor]:
        states = {name: getattr(self, name) for name in ROWS}
        # by image: the same numbers whatever the batches and processes
        order = dim_zero_cat(states["position"]).argsort()
        rows = {name: dim_zero_cat(value)[order] for name, value in states.items() if len(value)}
        if self._components is None:
            own = Gaussians(rows["loc"], rows["scale"], rows.get("tril"))
        else:
            own = self._components(rows["features"], rows["z"])
        others = self._others(own)
        found = aggregate_brackets(rows["z"], own, rows["log_q"], rows["log_p"], others)._asdict()
        number = rows["z"].new_tensor(float(len(own.loc)))
        if not rows["factorised"].all():
            found |= {f"dimension_wise_kl_{end}": torch.nan * number for end in ("low", "high")}
        defined = not found["mutual_information_low"].isnan()
        count = len(own.loc) - 1 if others is None else len(others.loc)
        holes = self._holes(rows, own)._asdict()
        holes.pop("draws")
        return {
            **found,
            **holes,
            "hole_rate_null": torch.full_like(number, null_hole_rate(len(own.loc))),
            "aggregate_images": number,
            "aggregate_posteriors": torch.full_like(number, count if defined else torch.nan),
        }

    def reset(self) -> None:
        super().reset()
        self._sample_prior = self._training_posteriors = self._components = None

    def _others(self, own: Gaussians) -> Gaussians | None:
        """M training posteriors, as many as the budget of operations allows; None for the scored images'."""
        if self._training_posteriors is None or not (own.scale > 0).all():
            return None
        images, dimensions = own.loc.shape
        each = images * dimensions * (CORRELATED if own.correlated else 1)
        q = self._training_posteriors(max(1, min(self.posteriors, self.operations // each)))
        if self._components is not None:
            features = _at_least_float32(q.features).to(own.loc.device)
            noise = normal_rows(0, len(features), dimensions, 0, "aggregate/training posteriors")
            start = self._components(features, torch.zeros_like(noise).to(features))
            return self._components(features, start.sample(noise.to(features)))
        tril = getattr(q, "tril", None)

        def here(part: Tensor) -> Tensor:
            return _at_least_float32(part).to(own.loc)

        return Gaussians(here(q.loc), here(q.scale), None if tril is None else here(tril))

    def _holes(self, rows: dict[str, Tensor], own: Gaussians) -> HoleRates:
        position, sample_prior = rows["position"], self._sample_prior

        def noise(kind: str, draw: int) -> Tensor:
            last = int(position.max()) + 1
            table = normal_rows(0, last, own.loc.shape[1], 0, f"holes/{self._split}/{kind}", draw)
            return table[position.cpu()].to(own.loc)

        def draws(k: int) -> tuple[Tensor, Tensor, Tensor]:
            if k == 0 or sample_prior is None:
                return rows["z"], rows["z_prior"], noise("matched", 0)
            z = own.sample(noise("posterior", k))
            return z, _at_least_float32(sample_prior(noise("prior", k))).to(z), noise("matched", k)

        if sample_prior is None:
            return hole_rates(draws, least=1, most=1)
        return hole_rates(draws, least=QUICK_DRAWS, most=QUICK_DRAWS) if self._quick else hole_rates(draws)


def _at_least_float32(values: Tensor) -> Tensor:
    """Half precision, which is too coarse for sums, as float32; everything else as it is."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values

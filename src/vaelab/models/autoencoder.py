"""The autoencoder: encoder, posterior, prior, decoder, likelihood and objective, put together."""

import copy
from collections.abc import Sequence
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vaelab.functional.images import to_float
from vaelab.functional.randomness import generator
from vaelab.models.conditions import Unconditional
from vaelab.models.corruption import Corruption
from vaelab.models.divergence import kl_per_dimension, log_prior, rate
from vaelab.models.likelihoods import Likelihood
from vaelab.models.objectives import Objective
from vaelab.models.posteriors import Posterior
from vaelab.models.priors import Density, Prior
from vaelab.models.rate_condition import RateCondition
from vaelab.models.requirements import check_needs
from vaelab.types import LatentStats, Noise, Output

__all__ = ["Autoencoder"]


class Autoencoder(nn.Module):
    """x -> q(z|x) -> z -> p(x|z), and the objective over what that gives.

    Every variant is an instance of this class with other parts. A forward pass is a pure function of the
    images, the noise, the step and the module's parameters and buffers, so that it can be stacked and
    vmapped; randomness is passed in.

    Shapes: B images, S samples of z per image, D latent dimensions.

    Raises:
        Misfit: a part needs what no other part provides (:mod:`vaelab.models.requirements`).
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        posterior: Posterior,
        prior: Prior,
        likelihood: Likelihood,
        objective: Objective,
        condition: Unconditional | None = None,
        corruption: Corruption | None = None,
        samples: int = 1,
    ) -> None:
        super().__init__()
        condition = condition or Unconditional()
        parts: dict[str, Any] = {"posterior": posterior, "prior": prior, "condition": condition}
        check_needs(parts | {f"objective.{name}": term for name, term in objective.terms.items()})
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.prior = prior
        self.likelihood = likelihood
        self.objective = objective
        self.condition = condition
        self.corruption = corruption
        self.samples = samples
        self.networks_dtype: torch.dtype | None = None  # of encoder and decoder, where it is another

    def networks_to(self, dtype: torch.dtype) -> None:
        """Convert encoder and decoder to ``dtype``, such as bfloat16; all else keeps its precision.

        Images, z, densities, codes and the objective do: 8 significand bits are too few for what is summed,
        compared or moved in small steps. The networks' inputs and outputs are converted where they are
        called.
        """
        self.encoder.to(dtype)
        self.decoder.to(dtype)
        self.networks_dtype = dtype

    @property
    def multi_rate(self) -> bool:
        """Whether it was trained for a range of betas: :meth:`at` gives the model of one of them."""
        return isinstance(self.condition, RateCondition)

    @property
    def betas(self) -> list[float]:
        """Those at which a multi-rate model is measured; empty for any other."""
        return self.condition.betas if isinstance(self.condition, RateCondition) else []

    def at(self, beta: float | None = None) -> "Autoencoder":
        """The ordinary model at one beta, by default the condition's ``default``. It shares the weights.

        Its gates are numbers that are computed now, so that later changes of their weights are not seen.
        A model that is not :attr:`multi_rate` is itself, at the beta that it was trained with.

        Raises:
            ValueError: a beta that the model was not trained for.
        """
        if not isinstance(self.condition, RateCondition):
            if beta is not None:
                raise ValueError("the model was trained with one beta; only model=multi_rate_vae has others")
            return self
        log_beta = self.condition.log_of(self.condition.default if beta is None else beta).to(self.device)
        # a copy of the tree of modules, with the tensors themselves
        shared = {id(tensor): tensor for tensor in chain(self.parameters(), self.buffers())}
        return fixed(copy.deepcopy(self, shared), log_beta)

    @property
    def latent_dim(self) -> int:
        return self.posterior.latent_dim

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(D,), or (C, h, w) where z is a map: D = C h w numbers, row by row."""
        return self.posterior.latent_shape

    @property
    def device(self) -> torch.device:
        return next(chain(self.parameters(), self.buffers())).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of z: that of its weights, or 32 bits if the networks alone have half of it."""
        if self.networks_dtype is not None:
            return torch.promote_types(self.networks_dtype, torch.float32)
        return next(
            part.dtype for part in chain(self.parameters(), self.buffers()) if part.is_floating_point()
        )

    def draw_noise(
        self,
        batch: int,
        random: torch.Generator,
        samples: int | None = None,
        image_shape: Sequence[int] | None = None,
    ) -> Noise:
        """The noise of one forward pass over ``batch`` images, on the generator's device.

        ``samples`` of z per image, as many as the model is trained with (``model.samples``) unless said.
        ``image_shape`` (C, H, W) is given in training, where a model may corrupt its input.
        """
        device = random.device
        samples = self.samples if samples is None else samples
        drawn = torch.randn((samples + 1, batch, self.latent_dim), generator=random, device=device)
        noise = Noise(posterior=drawn[:-1], prior=drawn[-1])
        if self.corruption is not None and image_shape is not None:
            corruption = torch.randn((batch, *image_shape), generator=random, device=device)
            noise = noise._replace(corruption=corruption)
        if self.condition.draws:
            noise = noise._replace(beta=torch.randn(batch, generator=random, device=device))
        return noise

    def forward(self, x: Tensor, noise: Noise, step: int | Tensor = 0, y: Tensor | None = None) -> Output:
        """x (B, C, H, W) float -> the loss, its terms, :class:`LatentStats` and the decoder's output.

        y (B,): the labels, for a conditional model. The noise has the model's :attr:`dtype`; x may have a
        higher one, which the likelihood then has too.
        """
        corrupted = self._corrupted(x, noise.corruption).to(noise.posterior.dtype)
        y, beta = self.condition.given(y, noise.beta, alike=bool(self.objective.batch_terms))
        q = self.posterior_parameters(corrupted, y)
        prior = self.prior_density()
        z = self.posterior.sample(q, noise.posterior)
        decoded = self.likelihood_parameters(z, y)
        # what is a function is computed if it is read
        stats = LatentStats(
            distortion=-self.likelihood.log_prob(x, decoded.to(x.dtype)),
            rate=lambda stats: rate(self.posterior, q, prior, stats),
            kl=lambda _: kl_per_dimension(self.posterior, q, prior, z),
            loc=q.loc,
            scale=q.scale,
            z=z,
            log_q=lambda _: self.posterior.log_prob(q, z),
            log_p=lambda _: log_prior(prior, q, z),
            z_prior=lambda _: prior.sample(noise.prior),
            q=q,
            log_weights=lambda stats: self._log_weights(x, q, prior, stats, y),
            beta=beta,
            x=x,
            reconstruction=lambda _: self.likelihood.mean(decoded),
        )
        loss, terms = self.objective(stats, step)
        return Output(loss, terms, stats, decoded)

    def _log_weights(self, x: Tensor, q: Any, prior: Density, stats: LatentStats, y: Tensor | None) -> Tensor:
        """:attr:`LatentStats.log_weights`, (2, S, B)."""
        log_w = stats.log_p - stats.distortion - self.posterior.log_prob(detached(q), stats.z)
        fixed = stats.z.detach()
        log_w_fixed = self.log_likelihood(x, fixed, y) + prior.log_prob(fixed) - stats.log_q.detach()
        return torch.stack([log_w, log_w_fixed])

    def _corrupted(self, x: Tensor, noise: Tensor) -> Tensor:
        """The encoder's input: x itself without a corruption, or without noise for it."""
        return x if self.corruption is None or not noise.numel() else self.corruption(x, noise)

    def posterior_parameters(self, x: Tensor, y: Tensor | None = None) -> Any:
        """Images (B, C, H, W) in floats -> the parameters of q(z|x), with gradients."""
        return self.posterior(self._through(self.encoder, self.condition.image(x, y)))

    def _through(self, network: nn.Module, given: Tensor) -> Tensor:
        """What encoder or decoder gives, in the precision of what it is given: its own may be half of it."""
        result: Tensor = network(given if self.networks_dtype is None else given.to(self.networks_dtype))
        return result if result.dtype == given.dtype else result.to(given.dtype)  # autocast has half too

    def prior_density(self, prior: Prior | None = None) -> Density:
        """p(z), or another prior, as a density: it may depend on the encoder or the codebook."""
        return (self.prior if prior is None else prior).bind(self.posterior, self.posterior_parameters)

    def kl_per_dimension(self, q: Any, z: Tensor | None = None) -> Tensor:
        """:func:`~vaelab.models.divergence.kl_per_dimension` of ``q`` from the prior, (B, D)."""
        return kl_per_dimension(self.posterior, q, self.prior, z)

    def likelihood_parameters(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z (..., D) -> the parameters of p(x|z), (..., C', H, W), with gradients."""
        latent = self.condition.latent(self.posterior.decoder_input(z), y)
        decoded = self._through(self.decoder, latent.reshape(-1, latent.shape[-1]))
        return decoded.reshape(*z.shape[:-1], *decoded.shape[1:])

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(x|z) in nats, for z of any origin: x (B, C, H, W) float, z (S, B, D) -> (S, B)."""
        return self.likelihood.log_prob(x, self.likelihood_parameters(z, y).to(x.dtype))

    @torch.no_grad()
    def encode(self, x: Tensor, y: Tensor | None = None, beta: float | None = None) -> Any:
        """Images (B, C, H, W), float in the data's range or uint8 -> q(z|x): ``loc``, ``scale`` (B, D).

        A conditional model needs the labels y (B,), here and in what follows. A multi-rate model is taken at
        ``beta`` (:meth:`at`). What these functions take may have any precision; what they give has the
        model's, but 32 bits at the least.

        Raises:
            ValueError: a label that a conditional model does not know, here and in ``decode``.
        """
        model = self.at(beta)
        model.condition.check(y)
        q = model.posterior_parameters(to_float(x).to(self.dtype), y)
        return q._make(map(at_least_float32, q))

    @torch.no_grad()
    def decode(self, z: Tensor, y: Tensor | None = None, beta: float | None = None) -> Tensor:
        """z (..., D) -> mean images E[x|z], (..., C, H, W)."""
        model = self.at(beta)
        model.condition.check(y)
        return model.likelihood.mean(at_least_float32(model.likelihood_parameters(z.to(self.dtype), y)))

    def sample(self, n: int, seed: int = 0, beta: float | None = None, prior: Prior | None = None) -> Tensor:
        """n mean images E[x|z] for z ~ p(z), (n, C, H, W); the same seed gives every model the same noise.

        ``prior``: another one than the model's own. A conditional model shows its labels in turn: 0, 1, ...,
        K-1, 0, ...
        """
        device = self.device
        noise = torch.randn(n, self.latent_dim, generator=generator(seed, "prior samples"))
        with torch.no_grad():
            z = self.prior_density(prior).sample(noise.to(device, self.dtype))
            return self.decode(z, self.condition.in_turn(n, device), beta)

    def reconstruct(self, x: Tensor, y: Tensor | None = None, beta: float | None = None) -> Tensor:
        """Images (B, C, H, W) -> E[x | z = posterior mean], (B, C, H, W)."""
        model = self.at(beta)
        return model.decode(model.encode(x, y).loc, y)


T = TypeVar("T", bound=nn.Module)


def fixed(module: T, log_beta: Tensor) -> T:
    """The module with each part that has a method ``fixed_at`` replaced by what that gives for this beta."""
    for name, part in list(module.named_children()):
        at = getattr(part, "fixed_at", None)
        setattr(module, name, fixed(part, log_beta) if at is None else at(log_beta).train(part.training))
    return module


def at_least_float32(part: Tensor) -> Tensor:
    """Half precision as float32, which quantiles and sums need; everything else as it is."""
    return part.float() if part.dtype in (torch.float16, torch.bfloat16) else part


def detached(q: Any) -> Any:
    """The same parameters of q(z|x), without gradient."""
    return q._make(part.detach() for part in q)

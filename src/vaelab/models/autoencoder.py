"""The autoencoder: encoder, posterior, prior, decoder, likelihood and objective, put together."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.errors import UserError
from vaelab.functional.images import to_float
from vaelab.functional.randomness import generator
from vaelab.models.conditions import Unconditional
from vaelab.models.corruption import Corruption
from vaelab.models.likelihoods import Likelihood
from vaelab.models.objectives import Objective
from vaelab.models.posteriors import Posterior
from vaelab.models.priors import Prior
from vaelab.types import LatentStats, Noise, Output


class Autoencoder(nn.Module):
    """x -> q(z|x) -> z -> p(x|z), and the objective over what that gives.

    Every variant is an instance of this class with other parts. A forward pass is a pure function of the
    images, the noise, the step and the module's parameters and buffers, so that it can be stacked and
    vmapped; randomness is passed in.

    Shapes: B images, S samples of z per image, D latent dimensions.
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
        refuse_what_does_not_fit(posterior, prior, objective, condition)
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.prior = prior
        self.likelihood = likelihood
        self.objective = objective
        self.condition = condition
        self.corruption = corruption
        self.samples = samples

    @property
    def latent_dim(self) -> int:
        return self.posterior.latent_dim

    @property
    def device(self) -> torch.device:
        return next(chain(self.parameters(), self.buffers())).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its weights."""
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
        if self.corruption is None or image_shape is None:
            return noise
        return noise._replace(corruption=torch.randn((batch, *image_shape), generator=random, device=device))

    def forward(self, x: Tensor, noise: Noise, step: int | Tensor = 0, y: Tensor | None = None) -> Output:
        """x (B, C, H, W) float -> the loss, its terms, :class:`LatentStats` and the decoder's output.

        y (B,): the labels, for a conditional model. The noise has the parameters' precision; x may have a
        higher one, which the likelihood then has too.
        """
        seen = self._corrupted(x, noise.corruption).to(noise.posterior.dtype)
        q = self.posterior_parameters(seen, y)
        prior = self.prior_density()
        z = self.posterior.sample(q, noise.posterior)
        decoded = self.likelihood_parameters(z, y)
        kl = self.posterior.kl(q, prior)
        held = detached(q) if self.objective.detached_log_q else q
        log_q, log_p = self.posterior.log_prob(held, z), prior.log_prob(z)
        stats = LatentStats(
            distortion=-self.likelihood.log_prob(x, decoded.to(x.dtype)),
            rate=prior.rate(kl, log_q, log_p),
            kl=kl,
            loc=q.loc,
            scale=q.scale,
            z=z,
            log_q=log_q,
            log_p=log_p,
            z_prior=prior.sample(noise.prior),
            q=q,
        )
        loss, terms = self.objective(stats, step)
        return Output(loss, terms, stats, decoded)

    def _corrupted(self, x: Tensor, noise: Tensor) -> Tensor:
        """What the encoder sees of x: x itself without a corruption, or without noise for it."""
        return x if self.corruption is None or not noise.numel() else self.corruption(x, noise)

    def posterior_parameters(self, x: Tensor, y: Tensor | None = None) -> Any:
        """Images (B, C, H, W) in floats -> the parameters of q(z|x), with gradients."""
        return self.posterior(self.encoder(self.condition.image(x, y)))

    def prior_density(self) -> Prior:
        """p(z) as a density: a prior may depend on the encoder or the codebook."""
        return self.prior.bind(self.posterior, self.posterior_parameters)

    def likelihood_parameters(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z (..., D) -> the parameters of p(x|z), (..., C', H, W), with gradients."""
        told = self.condition.latent(z, y)
        decoded = self.decoder(told.reshape(-1, told.shape[-1]))
        return decoded.reshape(*z.shape[:-1], *decoded.shape[1:])

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(x|z) in nats, for z of any origin: x (B, C, H, W) float, z (S, B, D) -> (S, B)."""
        return self.likelihood.log_prob(x, self.likelihood_parameters(z, y).to(x.dtype))

    @torch.no_grad()
    def encode(self, x: Tensor, y: Tensor | None = None) -> Any:
        """Images (B, C, H, W), float in the data's range or uint8 -> q(z|x): ``loc``, ``scale`` (B, D).

        A conditional model needs the labels y (B,), here and in what follows. What these functions take may
        have any precision; what they give has the model's, but 32 bits at the least.
        """
        q = self.posterior_parameters(to_float(x).to(self.dtype), y)
        return q._make(map(at_least_single, q))

    @torch.no_grad()
    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z (..., D) -> mean images E[x|z], (..., C, H, W)."""
        return self.likelihood.mean(at_least_single(self.likelihood_parameters(z.to(self.dtype), y)))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """n mean images E[x|z] for z ~ p(z), (n, C, H, W); the same seed gives every model the same noise.

        A conditional model shows its labels in turn: 0, 1, ..., K-1, 0, ...
        """
        device = self.device
        noise = torch.randn(n, self.latent_dim, generator=generator(seed, "prior samples"))
        with torch.no_grad():
            z = self.prior_density().sample(noise.to(device, self.dtype))
            return self.decode(z, self.condition.in_turn(n, device))

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) -> E[x | z = posterior mean], (B, C, H, W)."""
        return self.decode(self.encode(x, y).loc, y)


def at_least_single(part: Tensor) -> Tensor:
    """Half precision as float32, which quantiles and sums need; everything else as it is."""
    return part.float() if part.dtype in (torch.float16, torch.bfloat16) else part


def detached(q: Any) -> Any:
    """The same parameters of q(z|x), without gradient."""
    return q._make(part.detach() for part in q)


def refuse_what_does_not_fit(
    posterior: Posterior, prior: Prior, objective: Objective, condition: Unconditional
) -> None:
    """A UserError for parts that make no sense together."""
    if posterior.discrete != prior.discrete:
        raise UserError(
            "A posterior that chooses codes needs a prior over codes, and no other does: prior=uniform_codes "
            "and prior=fitted_codes go with model=vq_vae."
        )
    if prior.encodes and condition.channels:
        raise UserError(
            "This prior passes pseudo-inputs through the encoder, which needs a label with each: it does not "
            "go with a conditional model. Use prior=mog."
        )
    for name, term in objective.terms.items():
        remove = f"Remove it (model.objective.{name}=null)"
        if term.needs_density and posterior.deterministic:
            raise UserError(
                f"The objective's term {name!r} needs a posterior with a density, but the posterior "
                f"is deterministic. {remove} or use model=vae."
            )
        if term.needs_parts and not prior.factorised:
            raise UserError(
                f"The objective's term {name!r} needs the KL of each dimension, which this prior does not "
                f"have. {remove} or use prior=standard_normal."
            )
        if term.needs_diagonal and posterior.correlated:
            raise UserError(
                f"The objective's term {name!r} takes the dimensions of the posterior to be independent, "
                f"which here they are not. {remove} or use model.posterior._target_="
                "vaelab.models.posteriors.DiagonalGaussian."
            )
        if term.detached_log_q and len(objective.terms) > 1:
            raise UserError(
                f"The objective's term {name!r} with model.gradient=dreg changes the gradient of everything "
                "that passes through z: it must be the only term. Use model.gradient=standard."
            )
        if term.needs_codes and not posterior.discrete:
            raise UserError(f"The objective's term {name!r} needs a codebook. {remove} or use model=vq_vae.")
        if term.moves_codes and posterior.averaged:
            raise UserError(
                f"The objective's term {name!r} would move nothing: the codes are moving averages of the "
                f"encoder's points. {remove} or set model.posterior.decay=null."
            )
    moved = posterior.averaged or any(term.moves_codes for term in objective.terms.values())
    if posterior.discrete and not moved:
        raise UserError(
            "Nothing would move the codes: there is no CodebookLoss in the objective, and they are no moving "
            "averages. Use model=vq_vae or model=vq_vae_ema."
        )

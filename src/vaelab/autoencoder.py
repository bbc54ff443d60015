"""The autoencoder: encoder, posterior, prior, decoder, likelihood and objective, put together."""

import torch
from torch import Tensor, nn

from vaelab.data.images import to_float
from vaelab.errors import UserError
from vaelab.likelihoods import Likelihood
from vaelab.objectives import Objective
from vaelab.posteriors import Gaussian, Posterior
from vaelab.priors import Prior
from vaelab.randomness import generator
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
    ) -> None:
        super().__init__()
        if posterior.deterministic:
            for name, term in objective.terms.items():
                if term.needs_density:
                    raise UserError(
                        f"The objective's term {name!r} needs a posterior with a density, but the posterior "
                        f"is deterministic. Remove it (model.objective.{name}=null) or use model=vae."
                    )
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.prior = prior
        self.likelihood = likelihood
        self.objective = objective

    @property
    def latent_dim(self) -> int:
        return self.posterior.latent_dim

    def draw_noise(self, batch: int, random: torch.Generator, samples: int = 1) -> Noise:
        """The noise of one forward pass over ``batch`` images, on the generator's device."""
        drawn = torch.randn((samples + 1, batch, self.latent_dim), generator=random, device=random.device)
        return Noise(posterior=drawn[:-1], prior=drawn[-1])

    def forward(self, x: Tensor, noise: Noise, step: int | Tensor = 0) -> Output:
        """x (B, C, H, W) float -> the loss, its terms, :class:`LatentStats` and the decoder's output."""
        q: Gaussian = self.posterior(self.encoder(x))
        z = self.posterior.sample(q, noise.posterior)
        decoded = self._decode(z)
        kl = self.posterior.kl(q, self.prior)
        stats = LatentStats(
            distortion=-self.likelihood.log_prob(x, decoded),
            rate=kl.sum(-1),
            kl=kl,
            loc=q.loc,
            scale=q.scale,
            z=z,
            log_q=self.posterior.log_prob(q, z),
            log_p=self.prior.log_prob(z),
            z_prior=self.prior.sample(noise.prior),
        )
        loss, terms = self.objective(stats, step)
        return Output(loss, terms, stats, decoded)

    def _decode(self, z: Tensor) -> Tensor:
        """(..., D) -> the likelihood's parameters, (..., C', H, W)."""
        decoded = self.decoder(z.reshape(-1, z.shape[-1]))
        return decoded.reshape(*z.shape[:-1], *decoded.shape[1:])

    @torch.no_grad()
    def encode(self, x: Tensor) -> Gaussian:
        """Images (B, C, H, W), float in the data's range or uint8 -> q(z|x), each parameter (B, D)."""
        return self.posterior(self.encoder(to_float(x)))

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """z (..., D) -> mean images E[x|z], (..., C, H, W)."""
        return self.likelihood.mean(self._decode(z))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """n mean images E[x|z] for z ~ p(z), (n, C, H, W); the same seed gives the same z for every model."""
        device = next(self.parameters()).device
        noise = torch.randn(n, self.latent_dim, generator=generator(seed, "prior samples"))
        with torch.no_grad():
            return self.decode(self.prior.sample(noise.to(device)))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) -> E[x | z = posterior mean], (B, C, H, W)."""
        return self.decode(self.encode(x).loc)

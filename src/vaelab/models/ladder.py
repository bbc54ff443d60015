"""A hierarchy of latents as a posterior: groups from coarse to fine, each with a prior given those above."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vaelab.functional.aggregate import Gaussians
from vaelab.functional.distributions import gaussian_kl, normal_log_prob
from vaelab.models.numbers import check_groups, check_whole
from vaelab.models.posteriors import Posterior, bounded

__all__ = ["Ladder", "LadderParameters"]


class LadderParameters(NamedTuple):
    """The parameters of q(eps|x) for a batch; the first three along the path of the means."""

    loc: Tensor  # (B, D)  each group's mean given the means of the groups above
    scale: Tensor  # (B, D)  and its standard deviation there
    log_var: Tensor  # (B, D)  2 log(scale)
    features: Tensor  # (B, P)  what the encoder says of the image to every group


class Ladder(Posterior):
    """Groups of latents z_0, z_1, ... with p(z) = prod_l p(z_l|z_<l) and q(z|x) = prod_l q(z_l|z_<l, x).

    From the top down, a state that prior and posterior share carries what the groups above hold:

        s_0 = nothing,  s_(l+1) = relu(W_l [s_l, z_l] + b_l),  mu_0 = 0,  sigma_0 = 1,
        p(z_l|z_<l)    = N(mu_l(s_l), sigma_l(s_l)^2),
        q(z_l|z_<l, x) = N(mu_l + sigma_l dmu_l, (sigma_l dsigma_l)^2),

    with (dmu_l, log dsigma_l^2) a function of s_l and of features of the image, which the encoder gives from
    the bottom up: the shared path of "Ladder Variational Autoencoders" (Sønderby et al., 2016,
    arXiv:1602.02282) with the residual parametrisation of "NVAE: A Deep Hierarchical Variational Autoencoder"
    (Vahdat & Kautz, 2020, arXiv:2007.03898, section 3.2).

    **The latents of the model are whitened**: eps_l = (z_l - mu_l) / sigma_l, and z is an invertible function
    of eps, :meth:`decoder_input`. Hence

        p(eps) = N(0, I)  and  q(eps_l|eps_<l, x) = N(dmu_l, dsigma_l^2),

    and every KL, bound and ratio of densities of eps is that of z. So rate, samples, aggregate posterior and
    traversals are those of any VAE with this prior: eps_l = 0 is the mean of group l's prior, and a group
    whose dmu is 0 and dsigma 1 has collapsed. ``loc`` is dmu along the path of the means, eps_<l = loc_<l.

    dmu_l and log dsigma_l^2 are numbers of the encoder plus R_l relu(Q_l s_l + h_l), where h_l are ``width``
    further numbers of the encoder. R_l and the maps to mu_l and log sigma_l^2 begin at 0: the model begins as
    the flat VAE of the same networks.

    Args:
        groups: the dimensions of each group, the coarsest first.
        width: of the states s_l and the features h_l.

    Raises:
        ValueError: not 2 to 4 groups, groups that sum to more than 65,536 or not to ``latent_dim``,
            a ``width`` < 1, or latents that are maps.
    """

    provides = frozenset({"vectors", "density"})
    closed_kl = True

    def __init__(
        self, latent_dim: int, groups: Sequence[int], width: int = 64, latent_shape: Sequence[int] = ()
    ) -> None:
        super().__init__(latent_dim)
        if len(latent_shape) > 1:
            raise ValueError(
                "the latents are maps, and a hierarchy is of vectors: use network=mlp, conv or resnet"
            )
        check_groups(groups, latent_dim)
        check_whole("width", width, least=1)
        self.groups, self.width = tuple(groups), width
        upper, lower = groups[:-1], groups[1:]
        self.parameter_count = 2 * latent_dim + width * len(lower)
        self.states = nn.ModuleList(
            nn.Linear(size + (width if place else 0), width) for place, size in enumerate(upper)
        )
        self.priors = nn.ModuleList(nn.Linear(width, 2 * size) for size in lower)
        self.queries = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in lower)
        self.residuals = nn.ModuleList(nn.Linear(width, 2 * size, bias=False) for size in lower)
        for layer in (*self.priors, *self.residuals):
            for weight in layer.parameters():
                nn.init.zeros_(weight)

    def forward(self, encoded: Tensor) -> LadderParameters:
        _, loc, log_var = self._descend(encoded, torch.zeros_like(encoded[..., : self.latent_dim]))
        return LadderParameters(loc, (0.5 * log_var).exp(), log_var, encoded)

    def sample(self, q: LadderParameters, noise: Tensor) -> Tensor:
        return self._descend(q.features, noise)[0]

    def log_prob(self, q: LadderParameters, z: Tensor) -> Tensor:
        conditionals = zip(z.split(self.groups, -1), self._conditionals(q.features, z), strict=True)
        parts = [normal_log_prob(eps, *conditional).sum(-1) for eps, conditional in conditionals]
        return torch.stack(torch.broadcast_tensors(*parts)).sum(0)

    def standard_kl(self, q: LadderParameters, z: Tensor | None = None) -> Tensor:
        """E_q KL(q(eps_d|eps_<l, x) || N(0, 1)), (B, D), each KL in closed form, averaged over ``z``."""
        along = q.loc[None] if z is None else z
        parts = [gaussian_kl(*conditional) for conditional in self._conditionals(q.features, along)]
        return torch.cat([kl if kl.ndim < along.ndim else kl.mean(0) for kl in parts], dim=-1)

    def decoder_input(self, z: Tensor) -> Tensor:
        """eps (..., D) -> z (..., D), by the conditional priors."""
        return self._top_down(z)[1]

    @torch.no_grad()
    def components(self, features: Tensor, z: Tensor) -> Gaussians:
        """q(eps|x_n) for aggregate densities: features (N, P), one draw eps_n ~ q(eps|x_n) of each (N, D).

        Given the groups above, which are those of the draws, the dimensions are independent Gaussians. The
        tensors may have another precision and device than the weights; what comes back has that of ``z``.
        """
        features = features.to(next(self.parameters()))
        conditionals = self._conditionals(features, z.to(features))
        loc, log_var = (torch.cat(parts, dim=-1) for parts in zip(*conditionals, strict=True))
        q = LadderParameters(loc, (0.5 * log_var).exp(), log_var, features)

        def from_here(function: Callable[[LadderParameters, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            return torch.no_grad()(lambda values: function(q, values.to(features)).to(values))

        return Gaussians(
            q.loc.to(z), q.scale.to(z), joint=from_here(self.log_prob), draw=from_here(self.sample)
        )

    def _descend(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Draw group after group: eps with the mean and log variance that each had, (..., D) each."""
        state, drawn = None, []
        groups = zip(noise.split(self.groups, -1), self._by_group(features), strict=True)
        for place, (part, given) in enumerate(groups):
            loc, log_var = self._conditional(place, state, *given)
            eps = loc + (0.5 * log_var).exp() * part
            drawn.append((eps, loc.expand_as(eps), log_var.expand_as(eps)))
            if place < len(self.states):
                state = self._below(place, state, self._placed(place, state, eps))
        eps, loc, log_var = (torch.cat(parts, dim=-1) for parts in zip(*drawn, strict=True))
        return eps, loc, log_var

    def _top_down(self, eps: Tensor) -> tuple[list[Tensor | None], Tensor]:
        """eps (..., D) -> the state above each group, and z (..., D)."""
        states: list[Tensor | None] = [None]
        placed = []
        for place, part in enumerate(eps.split(self.groups, -1)):
            placed.append(self._placed(place, states[-1], part))
            if place < len(self.states):
                states.append(self._below(place, states[-1], placed[-1]))
        return states, torch.cat(placed, dim=-1)

    def _conditionals(self, features: Tensor, eps: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Mean and log variance of q(eps_l|eps_<l, x), a pair for each group; they broadcast to eps."""
        states, _ = self._top_down(eps)
        groups = zip(states, self._by_group(features), strict=True)
        return [self._conditional(place, state, *given) for place, (state, given) in enumerate(groups)]

    def _by_group(self, features: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """The encoder's numbers (..., P) -> of each group mean and log variance (..., 2 d), and h_l."""
        sizes = [2 * size for size in self.groups] + [self.width] * len(self.states)
        parts = features.split(sizes, -1)
        return list(zip(parts[: len(self.groups)], (None, *parts[len(self.groups) :]), strict=True))

    def _conditional(
        self, place: int, state: Tensor | None, own: Tensor, features: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if state is not None and features is not None:
            own = own + self.residuals[place - 1]((self.queries[place - 1](state) + features).relu())
        loc, log_var = own.chunk(2, dim=-1)
        return loc, bounded(log_var)

    def _placed(self, place: int, state: Tensor | None, eps: Tensor) -> Tensor:
        """z_l = mu_l + sigma_l eps_l; the first group's prior is N(0, I)."""
        if state is None:
            return eps
        mean, log_var = self.priors[place - 1](state).chunk(2, dim=-1)
        return mean + (0.5 * bounded(log_var)).exp() * eps

    def _below(self, place: int, state: Tensor | None, z: Tensor) -> Tensor:
        above = z if state is None else torch.cat([state, z], dim=-1)
        below: Tensor = self.states[place](above).relu()
        return below

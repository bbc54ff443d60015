"""The ladder against linear Gaussian hierarchies, whose ELBO is known, and against its densities in z."""

from itertools import accumulate

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from builders import images, random
from support.chance import SIGMAS
from support.stacking import assert_stacked_as_alone
from vaelab.functional.aggregate import aggregate_brackets, mixture_densities
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.divergence import kl_per_dimension
from vaelab.models.ladder import Ladder
from vaelab.models.likelihoods import Gaussian
from vaelab.models.networks import mlp
from vaelab.models.objectives import Distortion, GroupKL, Objective
from vaelab.models.posteriors import DiagonalGaussian
from vaelab.models.priors import StandardNormal

SHAPE = (1, 2, 3)


def randomised(groups: tuple[int, ...], width: int = 5, seed: int = 0, spread: float = 0.4) -> Ladder:
    """A ladder whose every weight is random: nothing is at its start."""
    ladder = Ladder(sum(groups), groups, width).double()
    source = random(seed)
    with torch.no_grad():
        for weight in ladder.parameters():
            weight.copy_(spread * torch.randn(weight.shape, generator=source))
    return ladder


def normal(*shape: int, seed: int = 1, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=random(seed), dtype=torch.float64)


# a linear hierarchy: z_0 ~ N(0, I), z_1 ~ N(A z_0, S^2), x ~ N(W z, sigma^2 I), and with eps_1 whitened
# q(eps_0|x) = N(F x, V_0), q(eps_1|eps_0, x) = N(M eps_0 + G x, V_1), variances diagonal

SIGMA = 0.75  # exact in 32 bits, in which numbers of parts are kept


class Linear(nn.Module):
    """x -> a matrix times the pixels, plus a constant."""

    def __init__(self, matrix: Tensor, constant: Tensor) -> None:
        super().__init__()
        self.matrix, self.constant = nn.Parameter(matrix), nn.Parameter(constant)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.matrix.T + self.constant


def linear_hierarchy(
    a: Tensor, s: Tensor, w: Tensor, f: Tensor, m: Tensor, g: Tensor, v: Tensor
) -> Autoencoder:
    """That model. v: the variances of q. Linear maps go through the ladder's relus in pairs, t and -t."""
    size = a.shape[1], a.shape[0]
    k = max(size)
    ladder = Ladder(sum(size), size, width=2 * k).double()
    eye, pair = torch.eye(k, dtype=torch.float64), torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    both = torch.kron(pair, eye)  # (2 k, k): t -> t, -t
    none = torch.zeros(size[1], 2 * k, dtype=torch.float64)
    weights = {
        "states.0.weight": both[:, : size[0]],
        "states.0.bias": torch.zeros(2 * k),
        "priors.0.weight": torch.cat([a @ both.T[: size[0]], none]),
        "priors.0.bias": torch.cat([torch.zeros(size[1]), 2 * s.log()]),
        "queries.0.weight": both[:, : size[1]] @ m @ both.T[: size[0]],
        "residuals.0.weight": torch.cat([both.T[: size[1]], none]),
    }
    ladder.load_state_dict(weights)
    # of the encoder: loc and log v of both groups, then h, through which G x goes
    matrix = torch.cat(
        [f, torch.zeros(size[0] + 2 * size[1], len(w), dtype=torch.float64), both[:, : size[1]] @ g]
    )
    log_v = v.log().split(size)
    pads = torch.zeros(size[0]), log_v[0], torch.zeros(size[1]), log_v[1], torch.zeros(2 * k)
    encoder = Linear(matrix, torch.cat([part.double() for part in pads]))
    decoder = nn.Sequential(Linear(w, torch.zeros(len(w), dtype=torch.float64)), nn.Unflatten(1, SHAPE))
    objective = Objective({"distortion": Distortion(), "kl": GroupKL(size)})
    return Autoencoder(encoder, decoder, ladder, StandardNormal(), Gaussian(SIGMA), objective).double()


def decoding(a: Tensor, s: Tensor, w: Tensor) -> Tensor:
    """W T, with z = T eps: eps -> the mean of x."""
    top = torch.eye(a.shape[1], dtype=torch.float64)
    z_of = torch.cat([torch.cat([top, torch.zeros(len(top), len(s))], 1), torch.cat([a, s.diag()], 1)])
    return w @ z_of


def test_with_the_exact_posterior_every_sample_gives_log_p():
    """One dimension a group: q(eps_1|eps_0, x) is within the family, and log p(x, z) / q(z|x) is log p(x)."""
    a, s, w = normal(1, 1, seed=1), torch.tensor([0.6], dtype=torch.float64), normal(6, 2, seed=2)
    c = decoding(a, s, w)
    precision = torch.eye(2, dtype=torch.float64) + c.T @ c / SIGMA**2
    covariance = precision.inverse()
    mean = covariance @ c.T / SIGMA**2  # E[eps|x] = mean @ x
    # eps_1 given eps_0: its mean is m_1 - (P_10 / P_11) (eps_0 - m_0)
    slope = -precision[1:, :1] / precision[1, 1]
    v = torch.stack([covariance[0, 0], 1 / precision[1, 1]])
    model = linear_hierarchy(a, s, w, mean[:1], slope, mean[1:] - slope @ mean[:1], v)
    x = normal(5, *SHAPE, seed=3)
    stats = model(
        x, model.draw_noise(5, random(4), samples=7)._replace(posterior=normal(7, 5, 2, seed=4))
    ).stats
    log_w = stats.log_p - stats.distortion - stats.log_q
    exact = MultivariateNormal(torch.zeros(6).double(), c @ c.T + SIGMA**2 * torch.eye(6).double())
    torch.testing.assert_close(log_w, exact.log_prob(x.flatten(1)).expand(7, 5), rtol=1e-9, atol=1e-9)


def some_hierarchy() -> tuple[Autoencoder, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Groups [2, 3] with any q, which is not the posterior; its parts."""
    a, w = normal(3, 2, seed=1), normal(6, 5, seed=2, scale=0.5)
    s = torch.tensor([0.5, 1.3, 0.8], dtype=torch.float64)
    f, m, g = normal(2, 6, seed=3, scale=0.5), normal(3, 2, seed=4), normal(3, 6, seed=5, scale=0.5)
    v = torch.tensor([0.3, 0.6, 0.2, 0.9, 0.4], dtype=torch.float64)
    return linear_hierarchy(a, s, w, f, m, g, v), (a, s, w), (f, m, g, v)


def joint_of(f: Tensor, m: Tensor, g: Tensor, v: Tensor, x: Tensor) -> MultivariateNormal:
    """q(eps|x): eps = F x, M F x + G x and the noise of both groups."""
    spread = torch.eye(5, dtype=torch.float64)
    spread[2:, :2] = m
    loc = torch.cat([f, m @ f + g]) @ x.flatten(1).T
    return MultivariateNormal(loc.T, spread @ v.diag() @ spread.T)


def test_the_elbo_of_a_two_layer_linear_model_is_the_closed_form():
    model, generative, recognition = some_hierarchy()
    x, draws = normal(4, *SHAPE, seed=6), 40_000
    noise = model.draw_noise(4, random(7), samples=1)._replace(posterior=normal(draws, 4, 5, seed=7))
    q = joint_of(*recognition, x)
    c = decoding(*generative)
    with torch.no_grad():
        stats = model(x, noise).stats
        parts = kl_per_dimension(model.posterior, stats.q, StandardNormal(), stats.z)
        per_draw = torch.stack(
            [model.posterior.standard_kl(stats.q, z[None]).sum(-1) for z in stats.z[:4000]]
        )
    rate = kl_divergence(q, MultivariateNormal(torch.zeros(5).double(), torch.eye(5).double()))
    torch.testing.assert_close(stats.log_q, q.log_prob(stats.z), rtol=1e-9, atol=1e-9)
    error = per_draw.std(0) / draws**0.5
    assert (error > 1e-4).all()
    assert (error < 0.02 * rate).all()
    assert ((stats.rate - rate).abs() < SIGMAS * error).all()
    torch.testing.assert_close(parts.sum(-1), stats.rate)
    # E_q |x - C eps|^2 = |x - C m|^2 + tr(C S C^T)
    misfit = (x.flatten(1) - q.mean @ c.T).square().sum(-1) + (c @ q.covariance_matrix[0] @ c.T).trace()
    distortion = misfit / (2 * SIGMA**2) + 6 * (
        torch.tensor(2 * torch.pi).log() / 2 + torch.tensor(SIGMA).log()
    )
    error = stats.distortion.std(0) / draws**0.5
    assert (error < 0.01 * distortion).all()
    assert ((stats.distortion.mean(0) - distortion).abs() < SIGMAS * error).all()


def test_the_parts_of_an_aggregate_of_hierarchies_are_bracketed():
    """x ~ N(0, I), so that q(eps) is Gaussian: I(x; eps), KL(q || p) and the total correlation are known."""
    model, _, (f, m, g, v) = some_hierarchy()
    n = 3000
    x = normal(n, *SHAPE, seed=8)
    with torch.no_grad():
        q = model.posterior_parameters(x)
        z = model.posterior.sample(q, normal(n, 5, seed=9))
        own = model.posterior.components(q.features, z)
        log_q = model.posterior.log_prob(q, z)
        found = aggregate_brackets(z, own, log_q, StandardNormal().log_prob(z))
    each, gain = joint_of(f, m, g, v, x), torch.cat([f, m @ f + g])
    covariance = gain @ gain.T + each.covariance_matrix[0]
    whole = MultivariateNormal(torch.zeros(5).double(), covariance)
    exact = {
        "mutual_information": 0.5 * (covariance.logdet() - v.log().sum()),
        "total_correlation": 0.5 * (covariance.diagonal().log().sum() - covariance.logdet()),
        "aggregate_kl": kl_divergence(
            whole, MultivariateNormal(torch.zeros(5).double(), torch.eye(5).double())
        ),
        "dimension_wise_kl": 0.5 * (covariance.diagonal() - 1 - covariance.diagonal().log()).sum(),
    }
    for name, value in exact.items():
        low, high = (getattr(found, f"{name}_{end}").item() for end in ("low", "high"))
        assert low < value.item() < high, name
        assert high - low < 0.35 + 0.2 * value.item(), name
    again = own.sample(normal(n, 5, seed=9))
    torch.testing.assert_close(again, z)


# any ladder, against its formulas in z


@pytest.mark.parametrize("groups", [(2, 3), (1, 2, 2), (2, 1, 1, 3)])
def test_densities_of_the_whitened_latents_are_those_of_z(groups):
    """p(z) and q(z|x) by the formulas of the docstring, and the map from eps to z by its Jacobian."""
    ladder = randomised(groups)
    d = sum(groups)
    q = ladder(normal(1, ladder.parameter_count))
    eps = ladder.sample(q, normal(1, 1, d, seed=2))
    z = ladder.decoder_input(eps)[0, 0]
    state, log_p, log_q = torch.zeros(0, dtype=torch.float64), 0.0, 0.0
    h = q.features[0, 2 * d :].split(ladder.width)
    for place, (start, size) in enumerate(zip(accumulate((0, *groups)), groups, strict=False)):
        own = q.features[0, 2 * start : 2 * (start + size)]
        mean, deviation = torch.zeros(size).double(), torch.ones(size).double()
        if place:
            mean, log_var = ladder.priors[place - 1](state).chunk(2)
            deviation = (log_var / 2).exp()
            own = own + ladder.residuals[place - 1](
                torch.relu(ladder.queries[place - 1](state) + h[place - 1])
            )
        delta, log_var = own.chunk(2)
        part = z[start : start + size]
        log_p = log_p + Normal(mean, deviation).log_prob(part).sum()
        log_q = log_q + Normal(mean + deviation * delta, deviation * (log_var / 2).exp()).log_prob(part).sum()
        if place < len(groups) - 1:
            state = torch.relu(ladder.states[place](torch.cat([state, part])))
    jacobian = torch.autograd.functional.jacobian(ladder.decoder_input, eps[0, 0])
    volume = jacobian.slogdet().logabsdet
    assert volume.abs() > 0.01
    torch.testing.assert_close(StandardNormal().log_prob(eps)[0, 0] - volume, log_p)
    torch.testing.assert_close(ladder.log_prob(q, eps)[0, 0] - volume, log_q)


@pytest.mark.parametrize("groups", [(2, 3), (1, 2, 2)])
def test_the_parts_of_the_rate_sum_to_the_monte_carlo_estimate(groups):
    ladder, d, draws = randomised(groups), sum(groups), 40_000
    q = ladder(normal(3, ladder.parameter_count))
    with torch.no_grad():
        z = ladder.sample(q, normal(draws, 3, d, seed=2))
        estimates = ladder.log_prob(q, z) - StandardNormal().log_prob(z)
        parts = ladder.standard_kl(q, z)
        single = torch.stack([ladder.standard_kl(q, part[None]).sum(-1) for part in z[:2000]])
    # both are means over the same draws: their difference has at most the sum of their errors
    error = (estimates.std(0) + single.std(0)) / draws**0.5
    assert (parts >= 0).all()
    assert (error < 0.03 * parts.sum(-1)).all()
    assert ((estimates.mean(0) - parts.sum(-1)).abs() < SIGMAS * error).all()
    assert ((ladder.standard_kl(q) - parts).abs() > 1e-3).any()  # along the means it is another number


def test_at_the_start_it_is_the_diagonal_gaussian():
    ladder, diagonal = Ladder(5, (2, 3), width=4), DiagonalGaussian(5)
    encoded = torch.randn(3, ladder.parameter_count, generator=random())
    loc_0, log_var_0, loc_1, log_var_1, _ = encoded.split([2, 2, 3, 3, 4], dim=-1)
    q, r = ladder(encoded), diagonal(torch.cat([loc_0, loc_1, log_var_0, log_var_1], dim=-1))
    noise = torch.randn(7, 3, 5, generator=random(1))
    z = ladder.sample(q, noise)
    torch.testing.assert_close(z, diagonal.sample(r, noise))
    torch.testing.assert_close(q[:3], tuple(r))
    torch.testing.assert_close(ladder.log_prob(q, z), diagonal.log_prob(r, z))
    torch.testing.assert_close(ladder.standard_kl(q, z), diagonal.standard_kl(r))
    torch.testing.assert_close(ladder.decoder_input(z), z)


def test_densities_broadcast_over_posteriors():
    ladder = randomised((1, 2, 2))
    q = ladder(normal(3, ladder.parameter_count))
    z = normal(4, 5, seed=2)
    table = ladder.log_prob(q, z[:, None])
    assert table.shape == (4, 3)
    for i in range(4):
        for j in range(3):
            one = ladder.log_prob(q._make(part[j : j + 1] for part in q), z[None, i : i + 1])
            torch.testing.assert_close(table[i, j], one[0, 0])


@pytest.mark.parametrize(("chunk", "inner"), [(2**18, 16), (35, 1), (35, 2), (1, 16)])
def test_the_mixture_is_that_of_all_posteriors_in_parts_of_any_size(chunk, inner, monkeypatch):
    monkeypatch.setattr("vaelab.functional.aggregate.CHUNK", chunk)  # 35: five points of seven at a time
    monkeypatch.setattr("vaelab.functional.aggregate.INNER", inner)
    ladder = randomised((1, 2, 2)).requires_grad_(False)
    q = ladder(normal(7, ladder.parameter_count))
    z = ladder.sample(q, normal(7, 5, seed=2))
    found = mixture_densities(z, ladder.components(q.features, z))
    table = ladder.log_prob(q, z[:, None])
    others = table.masked_fill(torch.eye(7, dtype=torch.bool), -torch.inf)
    torch.testing.assert_close(found.joint_low.exp(), others.exp().sum(1) / 6)
    torch.testing.assert_close(found.joint_high.exp(), table.exp().mean(1))


def test_every_weight_gets_a_gradient():
    ladder = randomised((2, 1, 3), width=16, spread=0.1)
    encoded = normal(20, ladder.parameter_count).requires_grad_()
    q = ladder(encoded)
    z = ladder.sample(q, normal(2, 20, 6, seed=2))
    (ladder.standard_kl(q, z).sum() + ladder.decoder_input(z).square().sum()).backward()
    assert all((weight.grad != 0).any() for weight in ladder.parameters())
    assert (encoded.grad != 0).any(0).all()


@pytest.mark.parametrize(
    ("groups", "width", "reason"),
    [
        ((4,), 8, "groups must be a list of 2 to 4 whole numbers >= 1"),
        ((1, 1, 1, 1, 1), 8, "groups must be a list of 2 to 4 whole numbers >= 1"),
        ((400_000, 2), 400_002, r"groups must sum to at most 65,536, got \[400000, 2\]"),
        ((4, 0), 8, "groups must be a list of 2 to 4 whole numbers >= 1"),
        ((4, 4), 8, "groups must sum to latent_dim=6"),
        ((2, 4), 0, "width must be a whole number >= 1"),
    ],
)
def test_what_is_no_hierarchy(groups, width, reason):
    with pytest.raises(ValueError, match=reason):
        Ladder(6, groups, width)


def test_latent_maps_are_refused():
    with pytest.raises(ValueError, match="the latents are maps, and a hierarchy is of vectors"):
        Ladder(6, (2, 4), latent_shape=(2, 1, 3))


def test_hierarchies_that_differ_in_numbers_stack():
    """Weights of the KL of each group, and its floors, are numbers of the model."""

    def model(k: int) -> Autoencoder:
        ladder = randomised((2, 1, 2), seed=k).float()
        encoder, decoder = mlp((1, 4, 4), 5, ladder.parameter_count, 1, (8,))
        kl = GroupKL(ladder.groups, group_beta=[1.0, 2.0 + k, 0.5 * k], free_bits=0.2 + k)
        objective = Objective({"distortion": Distortion(), "kl": kl})
        return Autoencoder(encoder, decoder, ladder, StandardNormal(), Gaussian(SIGMA), objective)

    models = [model(k) for k in range(3)]
    noise = models[0].draw_noise(6, random(), samples=2)
    assert_stacked_as_alone(models, images(6), [noise] * 3, step=4)

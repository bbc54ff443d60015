"""The prior fitted to codes whose distribution is known, and what is measured with it."""

import math
import shutil
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from planted_run import Rows, run_of
from scipy import stats as scipy_stats
from test_evaluate import evaluate
from torch import Tensor, nn

import vaelab
from builders import random, vae
from cli_runner import run as run_command
from support.chance import SIGMAS
from vaelab.data import ImageSet
from vaelab.evaluation import CodePrior, NotApplicable
from vaelab.evaluation.code_prior import Fit, fit, independent, new_network
from vaelab.figures.style import CONTENT
from vaelab.functional.randomness import generator
from vaelab.models import Autoencoder, Codebook, CodebookLoss, Distortion, Gaussian, Objective, UniformCodes
from vaelab.training.code_priors import load_code_prior
from vaelab.training.loading import read_picture

K, STAY = 3, 0.8
SCHEDULE: dict[str, Any] = {"epochs": 6, "patience": 3, "batch": 100, "lr": 1e-2}


def fitted(code_shape: tuple[int, ...], train: Tensor, val: Tensor) -> Fit:
    posterior = SimpleNamespace(code_shape=code_shape, number_of_codes=K)
    return fit(new_network(posterior, width=16, layers=1), train, val, **SCHEDULE)


def fitted_at(lr: float, codes: Tensor) -> Fit:
    posterior = SimpleNamespace(code_shape=(1, 2, 3), number_of_codes=K)
    return fit(new_network(posterior, width=16, layers=1), codes, codes, **SCHEDULE | {"lr": lr, "batch": 20})


def minus_log_p(density: Any, codes: Tensor) -> Tensor:
    with torch.no_grad():
        return -density.log_prob_of(codes).double()


def mean_and_error(values: Tensor) -> tuple[float, float]:
    return values.mean().item(), (values.std() / len(values) ** 0.5).item()


def excess(density: Any, codes: Tensor, exact: Tensor) -> tuple[float, float]:
    """KL(p || density), its mean over codes from p with ``exact`` = -log p(codes), and its standard error."""
    return mean_and_error(minus_log_p(density, codes) - exact)


def apart(train: Tensor) -> Any:
    return independent(train, K).bind(None, None)


@pytest.mark.slow
def test_of_independent_codes_the_rate_is_their_entropy():
    p = torch.softmax(1.5 * torch.randn(6, K, generator=random(2)), -1).double()
    entropy = sum(scipy_stats.entropy(row) for row in p.numpy())
    assert 0.5 * 6 * math.log(K) < entropy < 0.9 * 6 * math.log(K)
    codes = torch.multinomial(p, 6000, replacement=True, generator=random()).T
    train, val, test = codes.split([3000, 1000, 2000])
    exact = -p.log()[torch.arange(6), test].sum(-1)
    network = fitted((1, 2, 3), train, val).network
    # half a nat a frequency and training image; at most -log(1 - 0.01) a place for the smoothing
    frequencies = 6 * (K - 1) / 2 / 3000 + 6 * 0.01
    for density, most in ((network, 0.01 * entropy), (apart(train), frequencies)):
        over, error = excess(density, test, exact)
        assert error < 0.005 * entropy
        assert -SIGMAS * error < over < SIGMAS * error + most


def chains(shape: tuple[int, ...], axis: int, number: int) -> Tensor:
    """Maps (G, h, w) of Markov chains along one axis: a code stays, or becomes one of the others."""
    source = random(axis)
    moves = (torch.rand((number, *shape), generator=source) > STAY) * torch.randint(
        1, K, (number, *shape), generator=source
    )
    moves.select(axis + 1, 0)[:] = torch.randint(K, moves.select(axis + 1, 0).shape, generator=source)
    return (moves.cumsum(axis + 1) % K).flatten(1)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "axis"), [((3, 1, 2), 0), ((1, 3, 2), 1), ((1, 2, 3), 2), ((6, 1, 1), 0)])
def test_of_markov_chains_the_gain_is_the_information_between_neighbours(shape, axis):
    """I = log K - H(stay, (1 - stay) / (K - 1), ...) nats for each of the steps; the margins are uniform."""
    train, val, test = chains(shape, axis, 6000).split([3000, 1000, 2000])
    lines = math.prod(shape) // shape[axis]
    steps = lines * (shape[axis] - 1)
    move = [STAY, *[(1 - STAY) / (K - 1)] * (K - 1)]
    information = steps * (math.log(K) - scipy_stats.entropy(move))
    stays = (test.view(-1, *shape).diff(dim=axis + 1) == 0).flatten(1).sum(1).double()
    exact = lines * math.log(K) - stays * math.log(move[0]) - (steps - stays) * math.log(move[1])

    network = fitted(shape, train, val).network
    over, error = excess(network, test, exact)
    assert error < 0.01 * information
    assert -SIGMAS * error < over < SIGMAS * error + 0.03 * information
    gain, error = mean_and_error(minus_log_p(apart(train), test) - minus_log_p(network, test))
    assert error < 0.03 * information
    assert abs(gain - information) < SIGMAS * error + 0.03 * information


def test_the_fit_keeps_the_best_epoch_and_is_the_same_again():
    # from few images it learns at first, then by heart, and ends before its last epoch
    train, val = chains((1, 2, 3), 2, 260).split([60, 200])
    long = SCHEDULE | {"epochs": 40, "batch": 20}
    posterior = SimpleNamespace(code_shape=(1, 2, 3), number_of_codes=K)
    network = new_network(posterior, 16, 1)
    seen = []

    def watched(epochs: range, label: str):
        for epoch in epochs:
            yield epoch
            seen.append(minus_log_p(network, val).mean().item())

    result = fit(network, train, val, **long, progress=watched)
    assert result.epochs == result.best + long["patience"] < 40
    assert 1 < result.best == 1 + seen.index(min(seen))
    assert minus_log_p(result.network, val).mean().item() == pytest.approx(min(seen), abs=1e-6)
    again = fit(
        new_network(SimpleNamespace(code_shape=(1, 2, 3), number_of_codes=K), 16, 1), train, val, **long
    )
    for one, other in zip(result.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_where_nothing_can_be_learned_it_stays_the_independent_codes():
    """Of few images whose codes say nothing of each other every epoch is worse than the beginning."""
    train = torch.randint(K, (40, 6), generator=random(3))
    val = torch.randint(K, (200, 6), generator=random(4))
    network = new_network(SimpleNamespace(code_shape=(1, 2, 3), number_of_codes=K), 16, 1)
    network.begin_at(apart(train).log_p)
    result = fit(network, train, val, **SCHEDULE | {"lr": 0.1})
    assert (result.best, result.epochs) == (0, SCHEDULE["patience"])
    expected = minus_log_p(apart(train), val)
    torch.testing.assert_close(minus_log_p(result.network, val), expected, rtol=1e-6, atol=0)


def test_a_fit_that_diverges_says_so_in_a_line():
    codes = chains((1, 2, 3), 2, 60)
    with pytest.raises(vaelab.UserError, match=r"came to no finite value; try a smaller lr than 1e\+30\.$"):
        fitted_at(1e30, codes)


# of a run


class Pixels(nn.Module):
    """An encoder that gives the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()))  # a model has a device by its parameters

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) + self.anchor


SIGMA = 0.5
TERMS = {"distortion": Distortion(), "codebook": CodebookLoss()}


def planted(tmp_path, codes: Tensor):
    """A run whose images (1, 1, n) are 0, 1/2 and 1 for their codes; reconstructions are off by 0.1."""
    posterior = Codebook(codes.shape[1], K, code_dim=1)
    with torch.no_grad():
        posterior.codebook.copy_(torch.tensor([[0.0], [0.5], [1.0]]))
    decoder = nn.Sequential(Shifted(), Rows())
    model = Autoencoder(Pixels(), decoder, posterior, UniformCodes(), Gaussian(SIGMA), Objective(TERMS))
    images = (codes / 2)[:, None, None]
    half = len(images) // 2
    return run_of(tmp_path, ImageSet(images[:half]), ImageSet(images[half:]), model, val_size=half // 4)


class Shifted(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z + 0.1


def test_what_is_measured_of_a_run(tmp_path):
    n = 4
    run = planted(tmp_path, chains((n, 1, 1), 0, 1600))
    result = CodePrior(images=700, width=16, layers=0, epochs=4, batch=32, lr=1e-2)(run)
    metrics, protocol = result["metrics"], result["protocol"]
    assert metrics["code_rate_uniform"] == pytest.approx(n * math.log(K), rel=1e-6)
    assert metrics["code_rate_independent"] == pytest.approx(n * math.log(K), abs=0.05)
    assert metrics["code_rate"] < metrics["code_rate_independent"] - 0.3
    gain = metrics["code_rate_independent"] - metrics["code_rate"]
    assert metrics["code_rate_gain"] == pytest.approx(gain, rel=1e-6)
    assert metrics["nats_per_code"] == pytest.approx(metrics["code_rate"] / n, rel=1e-6)
    distortion = n / 2 * (math.log(2 * math.pi * SIGMA**2) + (0.1 / SIGMA) ** 2)
    assert metrics["nll_code_prior"] == pytest.approx(distortion + metrics["code_rate"], rel=1e-5)
    assert (protocol["images"], protocol["train_images"], protocol["validation_images"]) == (700, 600, 200)
    assert (protocol["code_shape"], protocol["number_of_codes"]) == ([n, 1, 1], K)

    # the numbers are those of the stored prior, on the test images' codes
    network = load_code_prior(run.folder, run.record, run.model.posterior)
    test = (2 * run.images("test", 700)).flatten(1).long()
    found, error = mean_and_error(minus_log_p(network, test))
    assert found == pytest.approx(metrics["code_rate"], rel=1e-5)
    assert error == pytest.approx(metrics["code_rate_se"], rel=1e-4)
    train = (2 * run.images("train", 700)).flatten(1).long()
    assert minus_log_p(network, train).mean().item() == pytest.approx(metrics["code_rate_train"], rel=1e-5)
    picture = read_picture(run.folder / "samples" / "code_prior.png")
    assert CONTENT in picture.info


def test_a_network_that_no_epoch_improved_gains_exactly_nothing(tmp_path):
    run = planted(tmp_path, chains((4, 1, 1), 0, 160))
    result = CodePrior(width=8, layers=0, epochs=1, lr=1e-30)(run)  # too small a rate to change a weight
    assert result["protocol"]["best_epoch"] == 0
    metrics = result["metrics"]
    assert (metrics["code_rate_gain"], metrics["code_rate_gain_se"]) == (0.0, 0.0)
    assert metrics["code_rate"] == metrics["code_rate_independent"] > 0


def test_codes_are_needed(tmp_path):
    images = ImageSet(torch.rand(40, 1, 4, 4, generator=random()))
    with pytest.raises(NotApplicable, match=r"^its latents are not codes\. Use model=vq_vae, "):
        CodePrior()(run_of(tmp_path, images, images, vae(), val_size=10))


def test_validation_images_are_needed(tmp_path):
    run = planted(tmp_path, chains((4, 1, 1), 0, 40))
    run.data.val = None
    with pytest.raises(NotApplicable, match="no val images"):
        CodePrior()(run)


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"lr": 0.0}, {"images": 1}, {"layers": -1}])
def test_numbers_that_make_no_fit_are_refused(settings):
    with pytest.raises(ValueError, match=f"^{next(iter(settings))} must be >"):
        CodePrior(**settings)


# through the command line


BRIEFLY = ("data.train_size=64", "data.val_size=32", "trainer.max_epochs=1", "logger=none")
MAP = ("network=conv_map", "network.width=8", "network.channels=8")


@pytest.mark.parametrize(
    "settings",
    [
        ("model=vq_vae", "model.codes=8", "network.hidden=[16]"),
        ("model=fsq_vae", "model.levels=[3,4]", *MAP),
        ("model=residual_vq_vae", "model.codes=8", *MAP),
    ],
)
def test_images_are_sampled_from_the_fitted_prior(tmp_path, settings):
    result = run_command(tmp_path, *settings, *BRIEFLY, "callbacks=no_pictures")
    run = vaelab.load(result.folder)
    with pytest.raises(vaelab.UserError, match=r"eval=code_prior force=true fits a prior to codes\.$"):
        run.sample(2, code_prior=True)
    brief = ("eval=code_prior", "eval.code_prior.epochs=2", "eval.code_prior.width=8", "udr=null")
    code, out, err = evaluate(result.folder, *brief)
    assert (code, err) == (0, "")
    assert "code_rate_uniform" in out
    # every test image is measured, as in training: under uniform codes, with the same distortion
    metrics = result.record["metrics"]
    assert metrics["eval/code_rate_uniform"] == pytest.approx(metrics["test/rate"], rel=1e-5)
    bound = metrics["test/distortion"] + metrics["eval/code_rate"]
    assert metrics["eval/nll_code_prior"] == pytest.approx(bound, rel=1e-5)
    images = run.sample(20, seed=3, code_prior=True)
    assert torch.equal(images, run.sample(20, seed=3, code_prior=True))
    assert not torch.equal(images, run.sample(20, seed=3))
    network = load_code_prior(result.folder, run.record, run.model.posterior)
    z = network.bind(run.model.posterior, run.model.posterior_parameters).sample(
        torch.randn(20, run.model.latent_dim, generator=generator(3, "prior samples"))
    )
    torch.testing.assert_close(images, run.model.decode(z))
    assert "code_prior: measured before" in evaluate(result.folder, *brief)[1]


def test_a_run_without_codes_says_so_in_a_line(vae_run, tmp_path):
    folder = shutil.copytree(vae_run.folder, tmp_path / "outputs" / "runs" / "one")
    code, out, _ = evaluate(folder, "eval=code_prior", "udr=null")
    assert code == 0
    assert "  code_prior: not for this run: its latents are not codes. Use model=vq_vae, fsq_vae or" in out
    assert not (folder / "code_prior.pt").exists()

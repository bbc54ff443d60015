"""trainer.precision=bf16-true: what it halves, and what keeps 32 bits."""

import math

import pytest
import torch
from scipy import stats
from torchmetrics import MetricCollection

from builders import data_module, elbo_terms, trainer
from cli_runner import trained
from vaelab.metrics import RateDistortion
from vaelab.models import (
    Autoencoder,
    Bernoulli,
    Codebook,
    CodebookLoss,
    DiagonalGaussian,
    Distortion,
    FlowPrior,
    Ladder,
    LearnedGaussian,
    Objective,
    StandardNormal,
    UniformCodes,
    VampPrior,
    mlp,
)
from vaelab.training.held_out import sample_prior
from vaelab.training.module import LitAutoencoder

CODES = 1000


def fitted(folder, precision="bf16-true", **parts) -> LitAutoencoder:
    """Two epochs, and the test, of a VAE with four latent dimensions, some of whose parts are others."""
    torch.manual_seed(0)
    posterior = parts.get("posterior") or DiagonalGaussian(4)
    model = Autoencoder(
        *mlp((1, 4, 4), 4, posterior.parameter_count, 1, (8,)),
        posterior,
        parts.get("prior") or StandardNormal(),
        parts.get("likelihood") or Bernoulli(),
        Objective(parts.get("objective") or elbo_terms()),
    )
    metrics = MetricCollection([RateDistortion()], compute_groups=False)
    module = LitAutoencoder(model, torch.optim.Adam, metrics, seed=0)
    fit = trainer(folder, precision=precision)
    fit.fit(module, datamodule=data_module())
    fit.test(module, datamodule=data_module(), verbose=False)
    return module


def codes() -> dict:
    class Watched(Codebook):
        """Keeps the latest noise that chose codes, and the latest codes of which z was made."""

        def numbers(self, noise):
            self.noise = noise
            return super().numbers(noise)

        def vectors(self, codes):
            self.made_of = codes
            return super().vectors(codes)

    terms = {"distortion": Distortion(), "codebook": CodebookLoss()}
    return {"posterior": Watched(4, CODES, 2), "prior": UniformCodes(), "objective": terms}


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"posterior": Ladder(4, [1, 3], 8), "likelihood": LearnedGaussian()},
        {"prior": FlowPrior(4, 1)},
        {"prior": VampPrior((1, 4, 4), 3)},
    ],
    ids=["vae", "ladder", "flow", "vamp"],
)
def test_encoder_and_decoder_alone_have_half_precision(tmp_path, parts):
    module = fitted(tmp_path, **parts)
    dtypes = {"networks": set(), "others": set()}
    for name, value in module.state_dict().items():
        networks = name.startswith(("model.encoder.", "model.decoder."))
        if value.is_floating_point():
            dtypes["networks" if networks else "others"].add(value.dtype)
    assert dtypes["networks"] == {torch.bfloat16}
    assert dtypes["others"] <= {torch.float32}
    assert module.model.dtype == torch.float32
    q = module.model.encode(torch.rand(3, 1, 4, 4))
    assert {part.dtype for part in q} == {torch.float32}
    # as any posterior's: it takes the parameters that the model gives
    z = module.model.posterior.sample(q, torch.randn(2, 3, 4))
    assert module.model.decode(z).dtype == torch.float32
    assert module.results["test"]["distortion"].isfinite()


def test_the_rate_of_uniform_codes_is_their_logarithm(tmp_path):
    """In bfloat16 log 1000 is 6.90625, by 0.02% too little; log 512 is off by 0.2%."""
    rate = fitted(tmp_path, **codes()).results["test"]["rate"]
    assert rate.item() == pytest.approx(2 * math.log(CODES), rel=1e-6)


def test_every_code_is_drawn_as_often(tmp_path):
    """Chi-square of 400,000 codes over 1000: a right prior exceeds the bound once in 10^6.

    Noise of 8 bits never draws 100 of them, which makes it some 70 times as large.
    """
    model = fitted(tmp_path, **codes()).model
    assert model.posterior.noise.dtype == torch.float32  # at the test of the run
    sample_prior(model, torch.randn(200_000, 4))
    counts = torch.bincount(model.posterior.made_of.flatten(), minlength=CODES).double()
    expected = counts.sum() / CODES
    chi_square = ((counts - expected).square() / expected).sum().item()
    assert chi_square < stats.chi2.isf(1e-6, CODES - 1)
    assert chi_square > stats.chi2.ppf(1e-6, CODES - 1)


def test_densities_are_of_the_networks_outputs_in_32_bits(tmp_path):
    """The KL of what the encoder gives, by hand in 64 bits."""
    model = fitted(tmp_path).model
    x = torch.rand(5, 1, 4, 4)
    encoded = model.encoder(x.bfloat16())
    loc, log_var = encoded.double().chunk(2, dim=-1)
    expected = 0.5 * (loc.square() + log_var.exp() - log_var - 1).sum(-1)
    noise = model.draw_noise(5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(x, noise).stats.rate.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
def test_training_in_half_of_the_precision_comes_near_that_in_32_bits(tmp_path, precision):
    found = [fitted(tmp_path, p).results["test"] for p in (precision, "32-true")]
    for name in ("rate", "distortion"):
        assert found[0][name].item() == pytest.approx(found[1][name].item(), rel=0.03), name


@pytest.mark.parametrize("model", [("model=vq_vae_ema",), ("model=vq_vae", "prior=fitted_codes")])
def test_moving_averages_keep_32_bits(tmp_path, model):
    result = trained(tmp_path, *model, "trainer.precision=bf16-true", "callbacks=no_pictures")
    state = torch.load(result.folder / result.record["weights"], weights_only=True)["state_dict"]
    [averages] = [value for name, value in state.items() if name.endswith((".counts", ".frequencies"))]
    assert averages.dtype == torch.float32
    assert not torch.equal(averages, averages.bfloat16().float())  # a step has moved them by less than 1/256
    assert state["model.encoder.1.weight"].dtype == torch.bfloat16

"""The variants on the aggregate posterior, through the command line: they train, and do what they are for."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cli_runner import small, trained
from vaelab import load
from vaelab.data.digits import load_digits
from vaelab.functional.estimators import inverse_multiquadric, mmd, rbf, total_correlation

LONGER = ("data.train_size=1024", "data.batch_size=64", "trainer.max_epochs=15", "optimizer.lr=3e-3")
TINY = ("model.latent_dim=4", "likelihood=gaussian", "likelihood.sigma=0.1")


def codes(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The posteriors of 1000 digits, (loc, scale)."""
    q = load(folder, "checkpoints/last.ckpt").encode(load_digits().train.x[:1000])
    return q.loc, q.scale


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model=beta_tc_vae", "model.estimator=full"], ".estimator must be mws or mss, got full"),
        (["model=iwae", "model.samples=0"], "model.samples=0: must be"),
        (["model=iwae", "model.gradient=drag"], ".gradient must be standard or dreg, got drag"),
        (["model=iwae", "model.beta=4"], "model.beta"),
    ],
)
def test_a_wrong_value_is_refused(tmp_path, settings, message):
    result = small(tmp_path, *settings)
    assert result.code == 2
    assert message in result.err


@pytest.mark.slow
def test_beta_tc_lowers_the_total_correlation(tmp_path):
    found = {}
    for beta in (1, 20):
        settings = (f"model.beta={beta}", *TINY, *LONGER)
        loc, scale = codes(trained(tmp_path / str(beta), "model=beta_tc_vae", *settings).folder)
        z = loc + scale * torch.randn(loc.shape, generator=torch.Generator().manual_seed(0))
        found[beta] = total_correlation(z, loc, scale, estimator="full").item()
    assert found[20] < 0.6 * found[1]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["dip_vae_i", pytest.param("dip_vae_ii", marks=pytest.mark.exhaustive)])
def test_dip_leads_the_covariance_to_the_identity(tmp_path, variant):
    """The penalties outweigh the distortion: at a tenth of this weight the codes of I stay correlated."""
    found = {}
    for weight in (0, 1000):
        settings = (f"model.lambda_od={weight}", f"model.lambda_d={weight}", *TINY, *LONGER)
        loc, scale = codes(trained(tmp_path / str(weight), f"model={variant}", *settings).folder)
        c = np.cov(loc.T) + (variant == "dip_vae_ii") * np.diag(scale.square().mean(0))
        found[weight] = ((c - np.eye(4)) ** 2).sum()
    assert found[0] > 1
    # 1,000 images of N(0, I) have 0.02 in expectation; three seeds of I have 0.02 to 0.03, those of II 0.001
    assert found[1000] < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["info_vae", pytest.param("wae_mmd", marks=pytest.mark.exhaustive)])
def test_the_mmd_leads_the_codes_to_the_prior(tmp_path, variant):
    found = {}
    for weight in (0.2, 2000):
        settings = (f"model.lambda={weight}", *TINY, *LONGER)
        loc, scale = codes(trained(tmp_path / str(weight), f"model={variant}", *settings).folder)
        source = torch.Generator().manual_seed(0)
        z = loc + scale * torch.randn(loc.shape, generator=source)
        prior = torch.randn(1000, 4, generator=source)
        found[weight] = max(mmd(z, prior, kernel).item() for kernel in (rbf(2.0), inverse_multiquadric(8.0)))
    assert found[2000] < 0.25 * found[0.2]
    assert found[2000] < 0.02


@pytest.mark.slow
def test_the_penalties_keep_code_and_decoder_small(tmp_path):
    sizes = {}
    for weight in (0, 1):
        settings = (f"model.latent_l2={weight}", f"model.decoder_l2={0.1 * weight}", *LONGER)
        folder = trained(tmp_path / str(weight), "model=regularized_ae", *settings).folder
        decoder = sum(p.square().sum().item() for p in load(folder).model.decoder.parameters())
        sizes[weight] = (codes(folder)[0].square().sum(1).mean().item(), decoder)
    assert sizes[1][0] < 0.5 * sizes[0][0]
    assert sizes[1][1] < 0.5 * sizes[0][1]


@pytest.mark.slow
def test_the_discriminator_is_trained_at_its_own_rate(tmp_path):
    """At the learning rate 0 it stays what it was; else its weights move, beside those of the VAE."""
    moved = {}
    for rate in (1e-30, 1e-3):
        weights = []
        for epochs in (0, 3):
            folder = tmp_path / f"{rate}-{epochs}"
            result = trained(
                folder,
                "model=factor_vae",
                "model.discriminator.width=32",
                f"model.discriminator.lr={rate}",
                f"trainer.max_epochs={epochs}",
                "seed=0",
            )
            model = load(result.folder, "checkpoints/last.ckpt").model
            weights.append([next(part.parameters()).detach() for part in (model.encoder, model.objective)])
        moved[rate] = [(after - before).abs().max().item() for before, after in zip(*weights, strict=True)]
    assert moved[1e-30][0] > 1e-3
    assert moved[1e-30][1] == 0
    assert moved[1e-3][1] > 1e-3

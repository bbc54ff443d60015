"""The closed form, reached by training through the command line."""

import json

import numpy as np
import pytest

from cli_runner import run
from vaelab.functional.closed_forms import gaussian_images, linear_beta_vae
from vaelab.runs.plans import PLAN

EIGENVALUES = [6.0, 3.0, 1.8, 1.0, 0.35, 0.17, 0.08, 0.02, 0.02, 0.02, 0.02, 0.02]


@pytest.mark.slow
def test_a_linear_beta_vae_reaches_its_exact_optimum_and_its_plan(tmp_path, monkeypatch):
    monkeypatch.setattr("vaelab.training.plan.beta_grid", lambda thresholds, latent_dim: [1.0, 5.0])
    file = tmp_path / "gaussian.npz"
    x_test = gaussian_images(EIGENVALUES, 50_000, seed=1)  # many: the distortion is measured with sampled z
    np.savez(file, x=gaussian_images(EIGENVALUES, 5000), x_test=x_test)
    settings = ("model.beta=auto", "data.batch_size=1000", "optimizer.lr=2e-2", "trainer.max_epochs=250")
    result = run(tmp_path, "experiment=ppca", f"data.path={file}", *settings)
    assert result.code == 0, result.err
    assert len(result.records) == 2
    plan = json.loads((result.sweep / PLAN).read_text())["curve"]
    for record in result.records.values():
        sigma = record["config"]["likelihood"]["sigma"]
        exact = linear_beta_vae(EIGENVALUES, sigma, record["beta"], record["latent_dim"])
        got = record["metrics"]
        planned = {name: values[plan["beta"].index(record["beta"])] for name, values in plan.items()}
        assert planned["active_units"] == exact.active_units
        assert planned["rate"] == pytest.approx(exact.rate, rel=1e-4)
        assert planned["distortion"] == pytest.approx(exact.distortion, rel=1e-4)
        assert got["test/active_units"] == exact.active_units
        assert got["test/rate"] == pytest.approx(exact.rate, rel=0.01, abs=0.05)
        assert got["test/distortion"] == pytest.approx(exact.distortion, rel=0.01, abs=0.05)
        live = sorted(got["test/kl_per_dim"], reverse=True)[: exact.active_units]
        assert live == pytest.approx(exact.kl_per_dim, abs=0.05)

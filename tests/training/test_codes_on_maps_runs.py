"""Runs whose codes are on maps."""

import math

import pytest
import torch

import vaelab
from cli_runner import SMALL, run

SETTINGS = [setting for setting in SMALL if not setting.startswith("network.")]
MAP = (*SETTINGS, "network=conv_map", "network.channels=6", "network.width=8", "model.code_dim=3")


@pytest.mark.parametrize("model", ["vq_vae", "vq_vae_ema"])
def test_a_run_with_codes_on_a_map_records_and_gives_them_in_their_places(tmp_path, model):
    result = run(tmp_path, *MAP, f"model={model}", "model.codes=16")
    got = result.record["metrics"]
    assert result.record["latent_shape"] == [6, 2, 2]
    assert got["test/rate"] == pytest.approx(2 * 2 * 2 * math.log(16), rel=1e-6)
    assert 1 / 16 <= got["test/codes_used"] <= 1
    assert 1 <= got["test/perplexity"] <= 16 * got["test/codes_used"] + 1e-3

    loaded = vaelab.load(result.folder)
    q = loaded.encode(torch.rand(5, 1, 8, 8))
    assert q.codes.shape == (5, 2, 2, 2)  # two groups at each of 2x2 places
    book = loaded.model.posterior.codebook
    assert torch.equal(q.loc[1, 3:, 0, 1], book[q.codes[1, 1, 0, 1]])
    assert loaded.sample(4).shape == (4, 1, 8, 8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("model=vq_vae", "model.code_dim=4"), "model.posterior.code_dim must divide the map's 6 channels"),
        (("model=vq_vae_ema", "model.revive_below=1"), "revive_below must be a finite number >= 0"),
        (("model=vq_vae", "+model.posterior.revive_below=0.1"), "revive_below=0.1 needs moving averages"),
        (("model=vae", "prior=fitted_codes"), "prior needs a posterior that chooses codes"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, settings, message):
    result = run(tmp_path, *[s for s in MAP if "code_dim" not in s], *settings)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err

"""Runs whose latents are maps."""

import pytest
import torch

import vaelab
from cli_runner import SMALL, run
from vaelab.errors import UserError
from vaelab.training.callbacks.history import read_rows

SETTINGS = [setting for setting in SMALL if not setting.startswith("network.")]
MAP = (*SETTINGS, "network=conv_map", "network.channels=3", "network.width=8")


def test_a_run_with_latent_maps_records_and_gives_their_shape(tmp_path):
    result = run(tmp_path, *MAP, "model=beta_vae")
    record = result.record
    assert (record["latent_dim"], record["latent_shape"]) == (12, [3, 2, 2])
    assert len(record["metrics"]["test/kl_per_dim"]) == 12
    assert record["metrics"]["test/active_channels"] <= 3
    assert {file.stem for file in result.folder.glob("latents/kl*.png")} == {
        "kl_map",
        "kl_over_training",
        "kl_per_dim",
    }
    loaded = vaelab.load(result.folder)
    x = torch.rand(5, 1, 8, 8)
    q = loaded.encode(x)
    assert q.loc.shape == q.scale.shape == (5, 3, 2, 2)
    flat = loaded.model.encode(x)
    assert q.loc.flatten(1).equal(flat.loc)
    assert loaded.decode(q.loc).equal(loaded.reconstruct(x))
    assert loaded.decode(q.loc[None].expand(4, -1, -1, -1, -1)).shape == (4, 5, 1, 8, 8)
    assert loaded.sample(6).shape == (6, 1, 8, 8)
    with pytest.raises(UserError, match=r"expected codes \(\.\.\., 3, 2, 2\); got \(5, 12\)"):
        loaded.decode(flat.loc)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["model.latent_dim=4"],
            "model.latent_dim=4: the network's latents are maps, with network.channels",
        ),
        (["network.down=4"], "network.down=4, each halves the image: 8x8 images allow 3 at most."),
        (["network.norm_groups=3"], "network.norm_groups must divide width=8, or be 0 for none, got 3"),
        (["model.posterior._target_=vaelab.models.FullCovariance"], "model.posterior: the latents are maps"),
    ],
)
def test_what_does_not_go_with_maps_is_refused(tmp_path, settings, message):
    result = run(tmp_path, *MAP, *settings)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") <= 2


@pytest.mark.parametrize(
    ("channels", "named"), [(25, {"dim", "channel"}), (26, {"channel"}), (1, {"dim", "channel"})]
)
def test_up_to_100_dimensions_have_names_and_channels_always(tmp_path, channels, named):
    """Maps of 2x2 places: 100, 104 and 4 numbers. The record has all of them."""
    result = run(tmp_path, *MAP, "model=vae", f"network.channels={channels}")
    rows = read_rows(result.folder / "history.csv")
    found = [name.removeprefix("val/kl/") for name in rows[-1] if name.startswith("val/kl/")]
    assert len(found) == sum({"dim": 4 * channels, "channel": channels}[name] for name in named)
    assert {name.partition("_")[0] for name in found} == named
    metrics = result.record["metrics"]
    by_dimension, by_channel = metrics["test/kl_per_dim"], metrics["test/kl_per_channel"]
    assert len(by_dimension) == 4 * channels
    sums = [sum(by_dimension[4 * c : 4 * c + 4]) for c in range(channels)]
    assert by_channel == pytest.approx(sums, rel=1e-4)
    assert sum(by_channel) == pytest.approx(metrics["test/rate"], rel=1e-4)

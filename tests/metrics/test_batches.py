"""What holds for every metric: the numbers belong to the images, not to the batches or processes."""

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing import spawn
from torchmetrics import MetricCollection

from builders import all_metrics, images, latent_stats, measured, random
from vaelab.metrics import AggregatePosterior, ReconstructionQuality

N = 301
AGGREGATE = {
    *(f"{part}_{end}" for part in ("mutual_information", "total_correlation") for end in ("low", "high")),
    *(f"{part}_{end}" for part in ("dimension_wise_kl", "aggregate_kl") for end in ("low", "high")),
    *("hole_rate", "hole_rate_se", "hole_rate_null", "hole_rate_matched", "hole_rate_matched_se"),
    *("aggregate_images", "aggregate_posteriors"),
}

QUALITY = {"psnr", "psnr_se", "ssim", "ssim_se"}


def data() -> tuple:
    """Statistics, images and reconstructions of N images; mu_3 moves between the two shards below alone."""
    stats = latent_stats(N, samples=2)
    stats.loc[200:, 3] += 1
    return stats, images(N), torch.rand(2, N, 1, 4, 4, generator=random(9))


def every_metric() -> MetricCollection:
    metrics = {**all_metrics(), "quality": ReconstructionQuality(images=230)}
    metrics["aggregate"] = AggregatePosterior(images=250)  # not all images
    return MetricCollection(metrics, compute_groups=False)


def batches(size: int, n: int = N) -> list[int]:
    return [min(size, n - start) for start in range(0, n, size)]


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    errors = {"rate_se", "distortion_se", "elbo_se", "elbo_mc_se", "elbo_draws"}
    names = {"rate", "distortion", "elbo", *errors, "kl_per_dim", "active_units", "mse", *QUALITY, *AGGREGATE}
    assert set(found) == set(expected) == names
    for name in names:
        torch.testing.assert_close(
            found[name],
            expected[name],
            rtol=1e-5,
            atol=1e-5 if name in AGGREGATE else 0,
            equal_nan=True,
            msg=name,
        )


@pytest.mark.parametrize("sizes", [batches(16), batches(256), batches(300), [1] * N, [1, 250, 50]])
def test_the_numbers_do_not_depend_on_the_batches(sizes):
    assert sum(sizes) == N
    assert_same(measured(every_metric(), *data(), sizes), measured(every_metric(), *data(), [N]))


def test_reset_forgets_everything():
    metrics = every_metric()
    measured(metrics, *(part for part in (latent_stats(N, samples=2, seed=1), *data()[1:])), sizes=[50, 251])
    metrics.reset()
    assert_same(measured(metrics, *data(), batches(64)), measured(every_metric(), *data(), batches(64)))


def test_a_deterministic_posterior_has_no_rate():
    stats, x, reconstruction = data()
    nothing = stats.replace(rate=stats.rate * math.nan, kl=stats.kl * math.nan)
    found = measured(every_metric(), nothing, x, reconstruction, batches(64))
    expected = measured(every_metric(), stats, x, reconstruction, batches(64))
    assert found["kl_per_dim"].isnan().all()
    for undefined in ("rate", "elbo"):
        assert found[undefined].isnan()
    for defined in ("distortion", "active_units", "mse"):
        assert found[defined] == expected[defined]


def shard(rank: int, size: int, folder: str) -> None:
    """One process of two: the first sees 200 images, the second 101, in batches of other sizes."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    try:
        stats, x, reconstruction = data()
        part, batch = ((slice(0, 200), 64), (slice(200, N), 30))[rank]
        samples_first = ("distortion", "z", "log_q", "log_p")
        own = {k: v[:, part] if k in samples_first else v[part] for k, v in stats.for_metrics().items()}
        n = len(x[part])
        found = measured(
            every_metric(),
            type(stats)(**own),
            x[part],
            reconstruction[:, part],
            batches(batch, n),
            part.start,
        )
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_report_what_one_does(tmp_path: Path):
    spawn(shard, args=(2, str(tmp_path)), nprocs=2)
    expected = measured(every_metric(), *data(), [N])
    assert expected["active_units"] == 4  # 3 in each shard on its own
    for rank in range(2):
        assert_same(torch.load(tmp_path / f"{rank}.pt", weights_only=True), expected)

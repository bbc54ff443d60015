"""The module gives the aggregate posterior's metric the training posteriors and the prior it asks for."""

from pathlib import Path

import pytest
import torch
from torchmetrics import MetricCollection

from builders import ae, data_module, lit, trainer, vae
from vaelab.functional.aggregate import Gaussians, aggregate_brackets
from vaelab.functional.distributions import standard_normal_log_prob
from vaelab.metrics import AggregatePosterior
from vaelab.training import held_out
from vaelab.training.module import LitAutoencoder


def module_with_metric(model=None, images: int = 2000) -> LitAutoencoder:
    module = lit(model)
    for split in ("val_metrics", "test_metrics"):
        setattr(
            module, split, MetricCollection({"aggregate": AggregatePosterior(images)}, compute_groups=False)
        )
    return module


def test_the_test_scores_test_images_by_training_posteriors(tmp_path: Path):
    module, data = module_with_metric(vae(seed=1)), data_module(train=20, test=13)
    run = trainer(tmp_path)
    run.validate(module, datamodule=data, verbose=False)
    run.test(module, datamodule=data, verbose=False)
    val, test = module.results["val"], module.results["test"]
    assert val["aggregate_posteriors"] == 12
    assert test["aggregate_posteriors"] == 20
    (training,) = data.training_sample(1000)
    q, others = module.model.encode(data.test.x), module.model.encode(training.x)
    z = q.loc + q.scale * module.held_out_noise("test", torch.arange(13)).posterior[0]
    expected = aggregate_brackets(
        z,
        Gaussians(q.loc, q.scale),
        module.model.posterior.log_prob(q, z[None])[0],
        standard_normal_log_prob(z),
        Gaussians(others.loc, others.scale),
    )
    for name, value in expected._asdict().items():
        torch.testing.assert_close(test[name], value, rtol=1e-4, atol=1e-5)


def test_without_training_images_the_scored_ones_are_the_mixture(tmp_path: Path):
    module, data = module_with_metric(), data_module(test=13)
    trainer(tmp_path).test(module, dataloaders=data.test_dataloader(), verbose=False)
    assert module.results["test"]["aggregate_posteriors"] == 12


@pytest.mark.parametrize("model", [vae, ae])
def test_a_run_is_measured_with_many_draws_and_its_epochs_with_few(tmp_path: Path, model, monkeypatch):
    draws = []
    sample = held_out.sample_prior
    monkeypatch.setattr(
        held_out, "sample_prior", lambda model, noise: draws.append(len(noise)) or sample(model, noise)
    )
    module, data = module_with_metric(model()), data_module(val=13)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(module, datamodule=data)
    assert draws == [13] * 3  # beside the draw that all metrics share
    run.validate(module, datamodule=data, verbose=False)
    assert len(draws) >= 3 + 7

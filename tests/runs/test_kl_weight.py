"""A run's beta is the weight of its KL, and nothing else that a variant calls beta."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vaelab.cli.paths import conf_dir
from vaelab.runs.record import kl_weight

SCHEDULE = "model.beta={_target_:vaelab.models.RampSchedule,stop:4.0}"


@pytest.mark.parametrize(
    ("settings", "beta"),
    [
        ("vae", 1.0),
        ("beta_vae", 4.0),
        ("beta_vae model.beta=0", 0.0),
        ("sigma_vae model.beta=2", 2.0),
        ("factor_vae", 1.0),
        ("dip_vae_i model.beta=10", 10.0),  # as lambda_od is
        ("beta_tc_vae", None),  # of the total correlation
        ("beta_tc_vae model.beta=1", None),
        ("info_vae", None),  # in the MMD's weight too
        ("annealed_vae", None),
        ("cyclical_vae", None),
        ("free_bits_vae", None),  # of a KL with a floor
        ("hierarchical_vae model.beta=3", 3.0),
        ("hierarchical_vae model.group_beta=[1,2]", None),  # each group has its own
        ("hierarchical_vae model.group_free_bits=1", None),
        (f"hierarchical_vae model.group_free_bits={SCHEDULE.partition('=')[2]}", None),
        ("capacity_vae", None),
        ("geco_vae", None),
        ("iwae", None),
        ("ae", None),
        (f"beta_vae {SCHEDULE}", None),
        ("beta_vae model.objective.kl.weight=2", None),  # model.beta says nothing then
    ],
)
def test_kl_weight(settings, beta):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", f"model={settings}".split())
    assert kl_weight(cfg) == beta


def test_a_config_that_cannot_be_resolved_has_none():
    assert kl_weight(OmegaConf.create({"model": {"beta": 1, "objective": "${nothing}"}})) is None

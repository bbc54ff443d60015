"""The hierarchy from the command line: trained, recorded, loaded, refused."""

import pytest
import torch

import vaelab
from cli_runner import small, trained
from vaelab.errors import MISTAKE

WIDE = ("model=hierarchical_vae", "model.groups=[2,1,3]")


def test_a_run_has_numbers_of_each_group_and_is_loaded(tmp_path):
    result = trained(
        tmp_path, *WIDE, "model.group_beta=[1,2,{_target_:vaelab.models.RampSchedule,start:0.0,stop:1.0}]"
    )
    record = result.record
    got = record["metrics"]
    kl, by_group = got["test/kl_per_dim"], got["test/kl_per_group"]
    assert by_group == pytest.approx([sum(kl[:2]), kl[2], sum(kl[3:])], rel=1e-4)
    assert sum(got["test/active_units_per_group"]) == got["test/active_units"]
    expected = ["active" if units else "collapsed" for units in got["test/active_units_per_group"]]
    assert record["verdict"]["groups"] == expected
    # the rate has several draws of each image, its parts one
    assert sum(by_group) == pytest.approx(got["test/rate"], rel=0.05)
    assert got["test/total_correlation_low"] >= 0
    assert record["beta"] is None
    assert (result.folder / "samples" / "layers.png").is_file()
    run = vaelab.load(result.folder)
    x = torch.rand(3, 1, 8, 8)
    q = run.encode(x)
    assert q.loc.shape == (3, 6)
    assert run.model.posterior.groups == (2, 1, 3)
    torch.testing.assert_close(run.decode(q.loc), run.reconstruct(x))
    assert run.sample(5).shape == (5, 1, 8, 8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.latent_dim=8"], "model.posterior.groups must sum to latent_dim=8, got [2, 1, 3]"),
        (["model.groups=8"], "vaelab-train: model.groups=8: must be a list of 2 to 4 whole numbers >= 1."),
        (["model.groups=[6]"], "model.posterior.groups must be a list of 2 to 4 whole numbers >= 1"),
        (["model.group_beta=[1,2]"], "group_beta must have a number for each of the 3 groups"),
        (["model.group_free_bits=0.5"], "model.weights=best: no validation value of model.objective.kl"),
        (
            ["prior=mog", "model.group_beta=[1,2,1]"],
            "model.objective.kl needs a prior that gives each dimension",
        ),
        (
            ["+model.objective.tc={_target_:vaelab.models.TotalCorrelation,beta:4}", "model.weights=last"],
            "model.objective.tc needs a posterior with independent dimensions",
        ),
    ],
)
def test_what_does_not_go_with_it_is_refused_before_the_training(tmp_path, settings, message):
    result = small(tmp_path, *WIDE, *settings)
    assert result.code == MISTAKE
    assert message in result.err
    assert len(result.err.strip().splitlines()) <= 2

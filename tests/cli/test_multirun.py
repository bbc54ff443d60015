"""Sweeps through the command line: every job is a run of its own, whatever happens to the others."""

import re

import pytest
import torch

from cli_runner import Result, small, trained
from vaelab.training.module import LitAutoencoder

QUICK = "callbacks=none"


def rows(result: Result) -> list[list[str]]:
    """The table's rows, a list of cells each: what follows the rule of dashes, up to the note."""
    lines = result.out.splitlines()
    [rule] = [number for number, line in enumerate(lines) if set(line) == {"-", " "}]
    ends = [len(lines[rule][: match.end()]) for match in re.finditer("-+", lines[rule])]
    starts = [0, *(end + 1 for end in ends[:-1])]
    after = lines[rule + 1 : lines.index("", rule)]
    return [
        [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        for line in after
        if not line.startswith("x ")
    ]


# three jobs


def test_every_job_is_recorded_as_itself_in_a_folder_with_its_values_in_the_name(beta_sweep):
    assert (beta_sweep.code, beta_sweep.err) == (0, "")
    assert list(beta_sweep.records) == ["00-beta0.5", "01-beta1", "02-beta2"]
    assert not (beta_sweep.outputs / "runs").exists()
    for record, beta in zip(beta_sweep.records.values(), (0.5, 1, 2), strict=True):
        assert record["status"] == "finished"
        assert record["beta"] == record["config"]["model"]["beta"] == beta
        assert record["swept"] == {"model.beta": beta}
        assert record["name"] == f"beta_vae-digits-beta{beta}"
        assert record["group"] == beta_sweep.sweep.name


def test_the_table_has_a_row_for_every_beta(beta_sweep):
    expected = [
        [
            str(record["beta"]),
            "1",  # run of this configuration
            f"{record['verdict']['label']} ({record['verdict']['ground']})",
            *(
                f"{record['metrics'][f'test/{name}']:.2f} ({record['metrics'][f'test/{name}_se']:.2f})"
                for name in ("rate", "distortion", "elbo")
            ),
            str(int(record["metrics"]["test/active_units"])),
        ]
        for record in beta_sweep.records.values()
    ]
    assert [row[:7] for row in rows(beta_sweep)] == expected


def test_the_end_says_where_everything_is_in_two_lines(beta_sweep):
    *_, report, wandb = beta_sweep.out.splitlines()
    assert report == f"Report: {beta_sweep.sweep}/report/report.html"
    assert wandb == "W&B, offline: `wandb leet wandb` shows the runs, `wandb sync wandb` sends them"


def test_every_line_of_a_job_says_which_it_is(beta_sweep):
    said = [line for line in beta_sweep.out.splitlines() if line.startswith("job ")]
    places = [line.partition(":")[0] for line in said]
    assert sorted(set(places)) == ["job 1/3", "job 2/3", "job 3/3"]
    assert places == sorted(places)
    for place, name in zip(("1", "2", "3"), beta_sweep.records, strict=True):
        own = [line for line in said if line.startswith(f"job {place}/3: ")]
        assert own[0].startswith(f"job {place}/3: {name}: ")
        assert ("(the other jobs: about " in own[0]) == (place == "2")  # one has finished, one is left
        assert sum(line.startswith(f"job {place}/3: epoch 2/2  train/loss ") for line in own) == 1


def test_larger_beta_smaller_rate(beta_sweep):
    rates = [record["metrics"]["train/kl"] for record in beta_sweep.records.values()]
    assert rates == sorted(rates, reverse=True)


def test_a_job_of_a_sweep_is_bit_equal_to_the_run_alone(beta_sweep, tmp_path):
    settings = ("model=beta_vae", "model.beta=1", "seed=0", "model.latent_dim=4", "trainer.max_epochs=2")
    alone = trained(tmp_path, *settings, QUICK)
    assert alone.record["metrics"] == beta_sweep.records["01-beta1"]["metrics"]
    one, other = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (alone.folder, beta_sweep.sweep / "01-beta1")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


# failures


def test_a_job_that_fails_does_not_stop_the_others(tmp_path):
    result = small(tmp_path, "-m", "model.beta=1,-1,2", QUICK)
    assert result.code == 1
    assert "Traceback" not in result.out + result.err
    status = {name: record["status"] for name, record in result.records.items()}
    assert status == {"00-beta1": "finished", "01-beta-1": "failed", "02-beta2": "finished"}
    error = result.records["01-beta-1"]["error"]
    assert "model.beta=-1" in error
    assert error in result.out
    [row] = [row for row in rows(result) if row[0] == "-1"]
    assert (row[1], row[-1]) == ("0", "failed")  # the last column says what did not finish


@pytest.mark.usefixtures("plain_table")
def test_a_bug_in_one_job_is_shown_and_recorded(tmp_path, monkeypatch):
    healthy = LitAutoencoder.training_step

    def broken(self, batch, batch_idx):
        if self.model.latent_dim == 3:
            raise RuntimeError("wires crossed")
        return healthy(self, batch, batch_idx)

    monkeypatch.setattr(LitAutoencoder, "training_step", broken)
    result = small(tmp_path, "-m", "model.latent_dim=3,4", QUICK)
    assert result.code == 1
    assert "Traceback" not in result.out + result.err
    assert "RuntimeError: wires crossed (its traceback is in" in result.out
    [log, _] = sorted(result.sweep.glob("*/run.log"))
    assert "Traceback" in log.read_text()
    assert [record["error"] for record in result.records.values()] == ["RuntimeError: wires crossed", None]


def test_a_value_that_does_not_exist_refuses_the_sweep(tmp_path):
    result = small(tmp_path, "-m", "model=vae,nope", QUICK)
    assert result.code == 2
    assert "model=nope" in result.err
    assert "Traceback" not in result.out + result.err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_interrupted_means_stopped_and_recorded(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(LitAutoencoder, "training_step", interrupted)
    result = small(tmp_path, "-m", "model.beta=1,2", QUICK)
    assert result.code == 130
    assert "Traceback" not in result.out + result.err
    assert "The same command continues a sweep" in result.err
    assert list(result.records) == ["00-beta1"]  # the second never began
    record = result.records["00-beta1"]
    assert record["status"] == "interrupted"
    assert "Ctrl-C" in record["error"]


# what is swept, and from where


def test_groups_can_be_swept(tmp_path):
    result = small(tmp_path, "-m", "model=ae,vae", "seed=0,1", QUICK)
    assert result.code == 0
    records = result.records
    assert list(records) == ["00-modelae-seed0", "01-modelae-seed1", "02-modelvae-seed0", "03-modelvae-seed1"]
    assert [record["swept"] for record in records.values()] == [
        {"model": model, "seed": seed} for model in ("ae", "vae") for seed in (0, 1)
    ]
    # seeds are folded: two runs of each
    assert [row[:2] for row in rows(result)] == [["ae", "2"], ["vae", "2"]]
    assert "nan" not in result.out


@pytest.mark.usefixtures("plain_table")
def test_a_sweep_file_needs_no_m_and_the_command_line_replaces_its_values(tmp_path):
    result = small(tmp_path, "sweep=beta", "model.beta=3", "seed=5,6", "sweep.name=mine", QUICK)
    assert result.code == 0
    records = list(result.records.values())
    assert result.sweep.name == "mine"
    assert [(record["beta"], record["seed"]) for record in records] == [(3, 5), (3, 6)]
    assert [record["swept"] for record in records] == [{"seed": 5}, {"seed": 6}]
    assert {record["variant"] for record in records} == {"beta_vae"}
    assert {record["group"] for record in records} == {"mine"}

"""vaelab.train and vaelab.sweep: what the commands do, from Python."""

import signal
import subprocess
import sys

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import vaelab
from cli_runner import SMALL, process_put_back, read_record, small
from vaelab.cli.paths import conf_dir
from vaelab.errors import UserError

FAST = (*SMALL, "callbacks=none", "model.latent_dim=3")


@pytest.fixture(autouse=True)
def put_back():
    with process_put_back():
        yield


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> str:
    return f"paths.outputs={tmp_path_factory.mktemp('python')}"


@pytest.fixture(scope="module")
def swept(outputs) -> vaelab.SweepResult:
    with process_put_back():
        return vaelab.sweep("model=beta_vae", "model.beta=1,4", "seed=0,1", *FAST, outputs)


def test_a_run_is_trained_and_given_back(tmp_path):
    run = vaelab.train("model=vae", *FAST, f"paths.outputs={tmp_path}")
    assert isinstance(run, vaelab.Run)
    assert run.folder.parent == tmp_path / "runs"
    assert run.folder.name.endswith("-vae-digits")
    assert run.record == read_record(run.folder)
    assert run.record["overrides"][0] == "model=vae"
    assert run.metrics["test/elbo"] < 0
    assert run.sample(2).shape == (2, 1, 8, 8)
    assert "samples/prior" in run.figures()


def test_it_is_the_run_of_the_command(tmp_path):
    ours = vaelab.train("model=vae", *FAST, f"paths.outputs={tmp_path / 'python'}")
    theirs = small(tmp_path / "command", "model=vae", *FAST).record
    assert ours.metrics == theirs["metrics"]
    for key in ("name", "variant", "dataset", "swept", "seed", "beta", "group"):
        assert ours.record[key] == theirs[key], key
    assert ours.record.keys() == theirs.keys()


def test_hydra_is_as_it_was(tmp_path):
    settings = (*FAST, "trainer.limit_train_batches=1", f"paths.outputs={tmp_path}")
    vaelab.train("model=ae", *settings)
    assert not GlobalHydra.instance().is_initialized()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        vaelab.train("model=ae", *settings)
        assert compose("train", ["model=vae"]).model.beta == 1.0  # the outer application goes on
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["model=betavae"], "model=betavae: there is no such option. Did you mean 'beta_vae'?"),
        (["model.bta=1"], "There is no key 'model.bta'. Did you mean 'model.beta'?"),
        (["model.beta=-1"], "model.beta=-1: must be a number >= 0."),
        (["data=npz"], "data.path"),
        (["sweep=beta"], "use vaelab.sweep"),
    ],
)
def test_a_mistake_is_a_user_error_with_the_commands_text(tmp_path, settings, text):
    with pytest.raises(vaelab.UserError) as caught:
        vaelab.train(*settings, f"paths.outputs={tmp_path}")
    assert text in str(caught.value)
    if "sweep" not in text:
        assert str(caught.value) in small(tmp_path / "command", *settings).err


def test_a_variant_of_ones_own(tmp_path):
    (tmp_path / "my" / "model").mkdir(parents=True)
    (tmp_path / "my" / "model" / "mine.yaml").write_text("defaults: [vae, _self_]\nbeta: 7.0\n")
    own = str(tmp_path / "my")
    run = vaelab.train("model=mine", *FAST, f"paths.outputs={tmp_path}", config_dir=own)
    assert (run.record["variant"], run.record["beta"]) == ("mine", 7.0)


def test_an_interrupt_is_a_keyboard_interrupt(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vaelab.training.module.LitAutoencoder.training_step", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        vaelab.train("model=vae", *FAST, f"paths.outputs={tmp_path}")
    assert signal.getsignal(signal.SIGINT) is before is not signal.SIG_IGN  # the next Ctrl-C counts too
    [folder] = (tmp_path / "runs").iterdir()
    assert read_record(folder)["status"] == "interrupted"


# sweeps


def test_a_sweep_gives_a_row_for_each_configuration(swept):
    assert [(row["model.beta"], row["n"]) for row in swept.rows] == [(1, 2), (4, 2)]
    frame = swept.frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame["test/rate"].tolist() == [row["test/rate"] for row in swept.rows]
    first = read_record(swept.folder / "00-beta1-seed0")["metrics"]["test/elbo"]
    second = read_record(swept.folder / "01-beta1-seed1")["metrics"]["test/elbo"]
    assert swept.rows[0]["test/elbo"] == pytest.approx((first + second) / 2)


def test_it_writes_the_report_and_says_what_it_found(swept):
    assert (swept.folder / "report" / "report.html").is_file()
    assert swept.findings
    assert all(sentence in str(swept) for sentence in swept.findings)


def test_the_command_goes_on_with_the_same_sweep(swept, outputs):
    before = {path.name for path in swept.folder.iterdir()}
    folder = swept.folder.parent.parent
    result = small(folder, "-m", "model=beta_vae", "model.beta=1,4", "seed=0,1", *FAST)
    assert result.code == 0
    assert result.out.count("already finished, skipped") == 4
    assert result.sweep == swept.folder
    assert {path.name for path in swept.folder.iterdir()} - before <= {"vaelab.log", ".hydra"}


def test_a_sweep_that_grows_trains_the_new_jobs_alone(swept, outputs):
    records = {path: path.read_bytes() for path in swept.folder.glob("*/results.json")}
    grown = vaelab.sweep("model=beta_vae", "model.beta=1,4,8", "seed=0,1", *FAST, outputs)
    assert grown.folder == swept.folder
    assert len(grown.rows) == 3
    assert all(path.read_bytes() == text for path, text in records.items())


def test_a_sweep_of_a_file(tmp_path):
    result = vaelab.sweep("sweep=beta", "seed=0", *FAST, "model.beta=1,2", f"paths.outputs={tmp_path}")
    assert [row["model.beta"] for row in result.rows] == [1, 2]


def test_runs_that_fail_are_named_and_the_others_compared(tmp_path):
    result = vaelab.sweep("model.beta=-1,1", *FAST, f"paths.outputs={tmp_path}")
    assert [row["status"] for row in result.rows] == ["failed", "finished"]
    assert "model.beta=-1: must be" in str(result)
    with pytest.raises(UserError, match=r"model\.beta=-2: must be"):
        vaelab.sweep("model.beta=-2,-1", *FAST, f"paths.outputs={tmp_path / 'all'}")


def test_settings_of_hydras_own_are_the_commands(tmp_path):
    with pytest.raises(UserError, match="use vaelab-train -m"):
        vaelab.sweep("model.beta=1,2", "hydra/launcher=joblib", f"paths.outputs={tmp_path}")


# a plain script

SCRIPT = """
import sys
import vaelab
assert not {'torch', 'pytorch_lightning', 'hydra'} & set(sys.modules)
settings = sys.argv[1:]
run = vaelab.train('model=vae', *settings)
again = vaelab.load(run.folder)
assert (again.sample(2) == run.sample(2)).all()
result = vaelab.sweep('model.beta=1,2', *settings)
print(run.folder.name, len(result.rows))
"""


@pytest.mark.slow
def test_a_plain_script(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    settings = [*FAST, f"paths.outputs={tmp_path / 'outputs'}"]
    ended = subprocess.run(
        [sys.executable, script, *settings], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].endswith("-vae-digits 2")


def test_a_process_that_only_imports_vaelab_composes_the_whole_config(tmp_path):
    code = (
        "from vaelab.cli.python import composed, take_hydra\n"
        "from vaelab.cli.checks import resolved\n"
        "cfg = composed('train', ['logger=wandb'], with_hydra=True)\n"
        "take_hydra(cfg)\n"
        "print(resolved(cfg)['logger']['mode'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("offline\n", "")

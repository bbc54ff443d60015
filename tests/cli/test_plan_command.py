"""vaelab-plan, and sweeps whose betas it chooses."""

import contextlib
import io
import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import vaelab
from cli_runner import process_put_back, small
from vaelab.cli import plan as command
from vaelab.functional.closed_forms import gaussian_images, linear_beta_vae
from vaelab.runs.plans import PLAN

SPECTRUM = [4.0, 2.0, 0.6, 0.2, 0.02, 0.02]
GAUSSIAN = ("data=npz", "likelihood=gaussian", "likelihood.sigma=0.5", "data.val_size=0")


@pytest.fixture
def file(tmp_path):
    """Images of a known covariance, the same for training and test."""
    x = gaussian_images(SPECTRUM, 400)
    np.savez(tmp_path / "x.npz", x=x, x_test=x)
    return tmp_path / "x.npz"


@pytest.fixture
def short_grid(monkeypatch):
    """Two betas, since each is a training."""
    monkeypatch.setattr("vaelab.training.plan.beta_grid", lambda thresholds, latent_dim: [0.5, 20.0])


def planned(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with process_put_back(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv[:] = ["vaelab-plan", *map(str, arguments)]
        try:
            command.main()
            code = 0
        except SystemExit as stop:
            code = stop.code
    return code, out.getvalue(), err.getvalue()


def test_the_table_is_the_closed_form_and_the_command_sweeps_it(file, tmp_path):
    code, out, err = planned(*GAUSSIAN, f"data.path={file}", "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "Exact for network=linear" in out
    lines = out.splitlines()
    [rule] = [i for i, line in enumerate(lines) if line.startswith("-") and "rate" in lines[i - 1]]
    table = [[float(cell) for cell in line.split()] for line in lines[rule + 1 : lines.index("", rule)]]
    assert len(table) >= 5
    for beta, live, rate, distortion, objective, elbo in table:
        exact = linear_beta_vae(SPECTRUM, 0.5, beta, 3)  # three directions have more than sigma^2
        assert live == exact.active_units
        assert (rate, distortion) == pytest.approx((exact.rate, exact.distortion), abs=0.006)
        assert objective == pytest.approx(exact.distortion + beta * exact.rate, abs=0.01)
        assert elbo == pytest.approx(exact.elbo, abs=0.01)
    suggested = shlex.split(lines[-2].removeprefix("Train it:"))
    assert suggested == [
        "vaelab-train",
        "sweep=auto",
        *GAUSSIAN[:3],
        GAUSSIAN[3],
        f"data.path={file}",
        "model.latent_dim=3",
    ]
    assert max(len(line) for line in lines if "x.npz" not in line and "out" not in line) <= 100
    assert json.loads((tmp_path / "out" / PLAN).read_text())["betas"] == [row[0] for row in table]
    with Image.open(tmp_path / "out" / command.PICTURE) as picture:
        assert picture.width == 1500


def test_of_many_pixels_the_text_fits_100_columns():
    code, out, err = planned("data=digits", "model.latent_dim=20")
    assert (code, err) == (0, "")
    assert "A guide: " in out
    assert max(map(len, out.splitlines())) <= 100
    assert out.splitlines()[-1] == "Train it:  vaelab-train sweep=auto data=digits model.latent_dim=20"


def test_a_multi_rate_model_takes_the_betas_in_one_training():
    code, out, err = planned(
        "data=digits", "data.train_size=50", "model=multi_rate_vae", "model.latent_dim=2"
    )
    assert (code, err) == (0, "")
    command = shlex.split(out.splitlines()[-1].removeprefix("Train it:"))
    betas = command[-3].removeprefix("model.betas=[").removesuffix("]").split(",")
    assert command[1] == "data=digits"
    assert command[-2:] == [f"model.beta_low={betas[0]}", f"model.beta_high={betas[-1]}"]


@pytest.mark.parametrize(
    ("settings", "dimensions"),
    [
        (("network=conv_map", "network.channels=3"), 3 * 2 * 2),
        (("model=hierarchical_vae", "model.groups=[2,4,3]"), 9),
    ],
)
def test_dimensions_that_a_map_or_groups_set_are_those_of_the_plan(settings, dimensions):
    code, out, err = planned("data=digits", *settings)
    assert (code, err) == (0, "")
    assert f"With {dimensions} dimensions" in out
    *_, line = out.splitlines()
    assert shlex.split(line.removeprefix("Train it:")) == [
        *("vaelab-train", "sweep=auto", "data=digits"),
        *settings,
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model=vq_vae", "There is no plan for this model, which has no model.beta."),
        ("model=kl_map_vae", "There is no plan for likelihood Laplace"),
        ("likelihood=laplace", "There is no plan for likelihood Laplace"),
        ("model=sigma_vae", "There is no plan for likelihood LearnedGaussian"),
        ("model.latent_dim=0", "model.latent_dim=0: must be a whole number >= 1."),
        ("model.latent_dim=1,2", "give model.latent_dim one value"),
        ("likelihod=gaussian", "Did you mean 'likelihood'?"),
        ("data.train_siz=3", "Did you mean 'data.train_size'?"),
        ("digits", "digits: settings are key=value"),
    ],
)
def test_a_mistake_is_said_in_one_line(setting, message):
    code, out, err = planned("data=digits", setting)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("vaelab-plan: ")
    assert message in err


def test_a_sweep_takes_the_planned_betas_and_keeps_the_plan(tmp_path, plain_table, short_grid):
    settings = ("sweep=auto", "model.latent_dim=3", "callbacks=none", "trainer.max_epochs=0")
    result = small(tmp_path, *settings)
    assert result.code == 0, result.err
    plan = json.loads((result.sweep / PLAN).read_text())
    assert [record["beta"] for record in result.records.values()] == plan["betas"]
    assert [record["swept"] for record in result.records.values()] == [
        {"model.beta": b} for b in plan["betas"]
    ]
    assert next(iter(result.records)) == f"00-beta{plan['betas'][0]:g}"
    assert f"Planned model.beta: {plan['betas'][0]:g}, " in result.out
    again = small(tmp_path, *settings)
    assert again.out.count("already finished, skipped") == len(plan["betas"])


def test_python_sweeps_the_same_betas(tmp_path, plain_table, short_grid):
    given = (
        "model=beta_vae",
        "model.beta=auto",
        "model.latent_dim=2",
        "data.train_size=40",
        "data.val_size=8",
    )
    fast = (
        "network.hidden=[4]",
        "trainer.max_epochs=0",
        "callbacks=none",
        "logger=none",
        "trainer.accelerator=cpu",
    )
    result = vaelab.sweep(*given, *fast, f"paths.outputs={tmp_path}")
    plan = json.loads((result.folder / PLAN).read_text())
    assert [row["model.beta"] for row in result.rows] == plan["betas"] == [0.5, 20.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("likelihood=laplace",), "There is no plan for likelihood Laplace"),
        (("model.latent_dim=2,3",), "this sweep varies model.latent_dim"),
        (("model=hierarchical_vae", "model.groups=[2,3],[4,3]"), "this sweep varies model.groups"),
        (("data.binarize=none,static",), "this sweep varies data.binarize"),
        (("model=ae",), "the model.beta of this model is no number. Use model=beta_vae."),
        (("model=multi_rate_vae",), "vaelab-plan prints its model.betas."),
    ],
)
def test_a_sweep_without_a_plan_is_refused_before_its_first_job(tmp_path, settings, message):
    result = small(tmp_path, "sweep=auto", *settings)
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert message in result.err
    assert not list(tmp_path.glob("sweeps/*/*"))


def test_a_mistake_is_refused_without_torch():
    code = (
        "import sys; sys.argv[1:] = ['data=digits', 'likelihod=gaussian']\n"
        "from vaelab.cli.plan import main\n"
        "try: main()\n"
        "except SystemExit as stop: print(stop.code, {'torch', 'pytorch_lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "2 set()\n", done.stderr
    assert "Did you mean 'likelihood'?" in done.stderr

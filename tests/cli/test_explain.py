"""vaelab-train --list and --explain: what there is, and what would be trained."""

import math
import re
import subprocess
import sys

import pytest

from builders import data_module, lit, trainer
from cli_runner import SMALL, run, trained
from vaelab.cli.listing import PARTS, listing, options
from vaelab.cli.paths import conf_dir
from vaelab.errors import UserError
from vaelab.training.summary import planned_steps

CONF = conf_dir()


def rows(text: str, group: str) -> dict[str, str]:
    """option -> its line, in the block of a group."""
    [block] = [block for block in text.split("\n\n") if block.splitlines()[0] == group]
    return dict(line.strip().split(maxsplit=1) for line in block.splitlines()[1:])


# --list


def test_every_variant_is_listed_with_its_line(tmp_path):
    result = run(tmp_path, "--list")
    assert (result.code, result.err) == (0, "")
    models = rows(result.out, "model")
    assert models.keys() == {file.stem for file in (CONF / "model").glob("[!_]*.yaml")}
    assert models["beta_vae"].startswith("beta-VAE (Higgins et al., 2017).")
    for name, line in models.items():
        assert f"# {name}: {line}" == (CONF / "model" / f"{name}.yaml").read_text().splitlines()[0]


def test_the_other_parts_are_listed_likewise(tmp_path):
    text = run(tmp_path, "--list").out
    for group in PARTS:
        assert rows(text, group).keys() == {file.stem for file in (CONF / group).glob("[!_]*.yaml")}
    assert rows(text, "data")["digits"].startswith("scikit-learn's 1,797")  # a comment without its name
    assert "callbacks, experiment" in text
    assert "wandb" not in text  # no group of Hydra's
    assert not list(tmp_path.iterdir())


def test_one_group_alone_and_any_of_them(tmp_path):
    text = run(tmp_path, "--list", "trainer", "experiment").out
    assert rows(text, "trainer").keys() == {"default", "gpu", "smoke"}
    assert rows(text, "experiment")["demo"].startswith("what make demo runs")  # after a line # @package
    assert "burgess_conv" not in text


@pytest.fixture
def mine(tmp_path):
    folder = tmp_path / "my"
    for name, text in {
        "model/mine.yaml": "# mine: my own VAE (Me, 2026).\ndefaults: [vae, _self_]\nbeta: 7.0\n",
        "model/vae.yaml": "# vae: never seen, as Hydra takes the first it finds.\n",
        "optics/lens.yaml": "focus: 1\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("spelled", [["--config-dir", "my"], ["--config-dir=my"], ["-cd", "my"]])
def test_a_users_own_options_are_among_them(tmp_path, mine, spelled):
    result = run(tmp_path, *spelled, "--list")
    models = rows(result.out, "model")
    assert models["mine"] == "my own VAE (Me, 2026)."
    assert models["vae"].startswith("the variational autoencoder")
    assert "optics" in result.out


def test_a_file_without_a_comment_has_an_empty_line(mine):
    assert options([mine]) == {
        "model": {"mine": "my own VAE (Me, 2026).", "vae": "never seen, as Hydra takes the first it finds."},
        "optics": {"lens": ""},
    }


def test_a_group_that_is_not_there_is_told():
    with pytest.raises(UserError, match=r"--list netwrk: there is no such group\. Did you mean 'network'\?"):
        listing([CONF], ["netwrk"])


def test_a_folder_that_is_not_there_is_told(tmp_path):
    result = run(tmp_path, "--list", "--config-dir=nowhere")
    assert result.code == 2
    assert result.err == "vaelab-train: --config-dir nowhere: there is no such folder.\n"


@pytest.mark.parametrize(
    "arguments", [["--list"], ["--version"], ["model=vae", "model.beta=-1", "--explain"]]
)
def test_listing_and_mistakes_import_neither_torch_nor_lightning(tmp_path, arguments):
    code = (
        "import sys; from vaelab.cli.train import train\n"
        "try: train()\n"
        "finally: print({'torch', 'pytorch_lightning', 'sklearn', 'wandb'} & set(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.stdout.splitlines()[-1] == "set()", ended.stderr
    assert ended.returncode == (2 if "--explain" in arguments else 0)


# --explain


def explained(tmp_path, *arguments: str) -> str:
    result = run(tmp_path, *arguments, "--explain")
    assert (result.code, result.err) == (0, "")
    assert not [path for path in tmp_path.iterdir() if path.name != "my"]  # nothing is written
    return result.out


def cells(text: str, first: str) -> list[str]:
    """The cells of the row that begins so."""
    [line] = [line for line in text.splitlines() if line.startswith(f"{first} ")]
    return re.split(r"\s{2,}", line.strip())


def test_parts_shapes_and_parameters_by_hand(tmp_path):
    text = explained(tmp_path, "model=vae", "data=digits", "network.hidden=[16]", "model.latent_dim=4")
    encoder, decoder = (64 * 16 + 16) + (16 * 8 + 8), (4 * 16 + 16) + (16 * 64 + 64)
    assert text.startswith(f"vae on digits: {encoder + decoder:,} parameters.")
    network = "mlp(hidden=[16], activation=relu, init=torch)"
    assert cells(text, "encoder") == ["encoder", network, "1x8x8 -> 8", f"{encoder:,}"]
    assert cells(text, "posterior") == ["posterior", "DiagonalGaussian()", "8 -> 4", "0"]
    assert cells(text, "prior") == ["prior", "StandardNormal()", "4", "0"]
    assert cells(text, "decoder") == ["decoder", network, "4 -> 1x8x8", f"{decoder:,}"]
    assert cells(text, "likelihood") == ["likelihood", "Bernoulli()", "1x8x8 -> 1x8x8", "0"]
    assert cells(text, "distortion") == ["distortion", "Distortion()", "1", "0"]
    assert cells(text, "kl") == ["kl", "KL(weight=1.0)", "1", "0"]
    assert "1,237 train, 200 val, 360 test images of 1x8x8 in [0, 1]" in text
    assert "600 steps, 20 batches of 64 an epoch; Adam(lr=0.001," in text  # ceil(1237 / 64) = 20, 30 epochs
    assert line(text, "weights").endswith("measured at the best, of the least val/objective")
    assert "corruption" not in text  # a part that this model has not


def test_a_latent_map_has_its_shape(tmp_path):
    text = explained(tmp_path, "network=conv_map", "network.channels=3", "data=digits")
    assert cells(text, "posterior")[2] == "24 -> 3x2x2"
    assert cells(text, "prior")[1:3] == ["StandardNormal()", "3x2x2"]


def test_a_schedules_values_are_those_of_its_formula(tmp_path):
    text = explained(
        tmp_path,
        *("model=vae", "data.train_size=640", "trainer.max_epochs=10"),
        "model.beta={_target_: vaelab.models.RampSchedule, start: 1, stop: 3, end: 0.8}",
    )
    at = [1 + 2 * min(step / 100 / 0.8, 1) for step in (0, 50, 99)]
    assert cells(text, "kl") == [
        "kl",
        "KL(weight=RampSchedule(start=1, stop=3, end=0.8))",
        ", ".join(f"{value:.4g}" for value in at),
        "0",
    ]


def line(text: str, first: str) -> str:
    [found] = [line for line in text.splitlines() if line.startswith(f"{first} ")]
    return found


def test_everything_that_bears_on_the_objective(tmp_path):
    plain = explained(tmp_path, "model=vae")
    assert line(plain, "objective").endswith("a mean over images; 1 sample of z an image")
    assert line(plain, "training").endswith("weight_decay=0.0)")
    assert "binarised" not in plain
    text = explained(
        tmp_path,
        *("model=iwae", "model.samples=7", "model.gradient=dreg", "data.binarize=dynamic"),
        *(
            "trainer.accumulate_grad_batches=2",
            "trainer.gradient_clip_val=0.5",
            "trainer.precision=bf16-mixed",
        ),
    )
    assert line(text, "objective").endswith("7 samples of z an image")
    assert "gradient=dreg" in line(text, "importance")
    assert line(text, "data").endswith("binarised (dynamic)")
    assert line(text, "training").endswith(
        "; a step for every 2 batches; gradients clipped at 0.5 (norm); precision bf16-mixed"
    )


def test_what_changes_beside_a_weight(tmp_path):
    text = explained(tmp_path, "model=capacity_vae", "data.train_size=640", "trainer.max_epochs=10")
    assert cells(text, "kl")[2] == "5; capacity 0, 10, 10"
    last = 0.5 * (1 + math.cos(math.pi * (0.99 - 0.5) / 0.5))
    assert line(text, "training").endswith(f"; learning rates times 1, 1, {last:.4g}")
    assert cells(explained(tmp_path, "model=geco_vae"), "distortion")[2] == "1; multiplier 1"


def test_a_corruption_and_a_network_of_ones_choice(tmp_path):
    text = explained(tmp_path, "model=denoising_ae", "model/corruption=masking", "network=resnet")
    assert cells(text, "corruption")[1:3] == ["MaskingNoise(share=0.3)", "1x8x8 -> 1x8x8"]
    assert cells(text, "encoder")[1].startswith("resnet(hidden=[32, 64], blocks=2")


def test_ones_own_variant(tmp_path, mine):
    text = explained(tmp_path, "--config-dir", "my", "model=mine")
    assert text.startswith("mine on digits")
    assert cells(text, "kl")[1] == "KL(weight=7.0)"


def test_the_counts_and_sizes_are_those_that_training_records(tmp_path):
    settings = [s for s in SMALL if not s.startswith("logger")]
    text = explained(tmp_path, "model=beta_vae", *settings)
    record = trained(tmp_path / "trained", "model=beta_vae", "callbacks=none").record
    assert text.startswith(f"beta_vae on digits: {record['parameters']:,} parameters")
    sizes = record["data"]
    assert f"{sizes['train']:,} train, {sizes['val']:,} val, {sizes['test']:,} test" in text


@pytest.mark.parametrize("model", ["factor_vae", "conditional_vae", "vq_vae"])
def test_parts_beside_the_usual_are_explained(tmp_path, model):
    text = explained(tmp_path, f"model={model}", "data=digits", "network.hidden=[8]")
    assert text.startswith(f"{model} on digits: ")
    assert "nan" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "model=vae"], "--explain shows one run: leave out -m"),
        (["--cfg", "job"], "--cfg can't be combined with --list or --explain."),
        (["model.beta=1,2"], "--explain shows one run: leave out -m, and give every key one value."),
        (["model.bta=1"], "There is no key 'model.bta'. Did you mean 'model.beta'?"),
        (["model=vea"], "model=vea: there is no such option. Did you mean 'vae'?"),
        (["model.beta=-1"], "model.beta=-1: must be"),
        (["network=burgess_conv"], "network: burgess_conv is published for 64x64 images, the data are 8x8"),
        (["+model.objective.kl.nonsense=1"], "There is no key 'model.objective.kl.nonsense'"),
        (["network=conv_map", "model.latent_dim=4"], "model.latent_dim=4: the network's latents are maps"),
        (["optimizer.betas=1"], "optimizer"),
    ],
)
def test_mistakes_are_told_as_training_tells_them(tmp_path, arguments, message):
    result = run(tmp_path, *arguments, "--explain")
    assert result.code == 2
    assert result.err.startswith("vaelab-train: ")
    assert message in result.err
    assert len(result.err.splitlines()) <= 2
    assert not list(tmp_path.iterdir())


def test_a_sweep_file_is_explained_by_one_job(tmp_path):
    text = explained(tmp_path, "sweep=beta", "network.hidden=[8]")
    assert text.splitlines()[-1] == "One job of a sweep is shown. Swept: model.beta=0.5,1,2,4,8 seed=0,1"


# its pieces


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"max_epochs": 3}, 30),
        ({"max_epochs": 3, "accumulate_grad_batches": 4}, 9),  # 4, 4 and 2 batches
        ({"max_epochs": 3, "limit_train_batches": 2}, 6),
        ({"max_epochs": 3, "limit_train_batches": 0.25}, 6),
        ({"max_epochs": 3, "max_steps": 7}, 7),
        ({"max_epochs": -1, "max_steps": 7}, 7),
        ({"max_epochs": None}, math.inf),
    ],
)
def test_the_steps_of_a_training(settings, steps):
    assert planned_steps(settings, batches=10) == steps


def test_the_steps_are_lightnings_own(tmp_path):
    for limits in (
        {"max_epochs": 3},
        {"max_epochs": 3, "accumulate_grad_batches": 2},
        {"max_epochs": 2, "limit_train_batches": 0.5},
        {"max_epochs": 2, "limit_train_batches": 3},
    ):
        made, data = trainer(tmp_path, **limits), data_module(train=20, batch_size=4)
        made.fit(lit(), datamodule=data)
        assert planned_steps(limits, batches=len(data.train_dataloader())) == made.global_step

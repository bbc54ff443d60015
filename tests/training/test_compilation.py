"""torch.compile makes one graph of a training step's pass, with the numbers of the pass itself."""

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from builders import images, random, vae
from cli_runner import run, trained
from vaelab.cli.checks import resolved
from vaelab.cli.compose import composed
from vaelab.errors import UserError
from vaelab.models.schedules import set_total_steps
from vaelab.training.assembly import build_autoencoder, build_data, run_context
from vaelab.training.compilation import CompiledPass, training_pass

CONF = Path(__file__).resolve().parents[2] / "conf"
VARIANTS = sorted(file.stem for file in (CONF / "model").glob("[!_]*.yaml"))
NO_GRAPH = ("flow_prior_vae",)  # zuko makes its distributions from Python objects, which no graph holds
BY_SIZE = ("beta_tc_vae",)  # the logarithm of the batch size is a constant of the graph
CONVOLUTIONS = ("kl_map_vae",)  # torch chooses others for less than 16 images: one graph more
SOME = (*NO_GRAPH, *BY_SIZE, "conditional_vae", "iwae", "multi_rate_vae", "vq_vae_ema")
SIZES = (32, 32, 20, 13, 32)

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")


@pytest.fixture
def graphs(monkeypatch) -> list:
    """Every graph that torch makes, run as it is: no compiler is needed."""
    made: list = []

    def backend(graph, inputs, **options):
        made.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return made


def variant(name: str):
    sizes = {
        "hierarchical_vae": ("model.groups=[2,2]", "network.hidden=[16]"),
        "residual_vq_vae": ("model.latent_dim=8", "network.hidden=[16]"),
        "kl_map_vae": ("network.width=8", "network.norm_groups=2"),
    }
    size = sizes.get(name, ("model.latent_dim=4", "network.hidden=[16]"))
    settings = [f"model={name}", "data=digits", *size, "logger=none"]
    cfg = OmegaConf.create(resolved(composed("train", settings)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_autoencoder(cfg, run_context(cfg, build_data(cfg)))
    set_total_steps(model, 100)
    return model.train()


def case(name):
    marks = [] if name == "vae" else [pytest.mark.slow if name in SOME else pytest.mark.exhaustive]
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", [case(name) for name in VARIANTS])
def test_a_variant_is_one_graph_for_every_batch_and_step(name, graphs):
    model, source = variant(name), random(1)
    compiled = CompiledPass(model, "default")
    weights = list(model.parameters())
    for number, size in enumerate(SIZES):
        x, y = images(size, (1, 8, 8), seed=number), torch.arange(size) % 10
        noise = model.draw_noise(size, source, image_shape=(1, 8, 8))
        if name in NO_GRAPH:
            with pytest.raises(UserError, match="compile=default: torch can't compile this training step"):
                compiled(x, noise, 0, y)
            return
        loss, terms, q = compiled(x, noise, 10 * number, y)
        expected = training_pass(model, x, noise, 10 * number, y)
        torch.testing.assert_close(loss, expected[0])
        torch.testing.assert_close(terms, {name: value.detach() for name, value in expected[1].items()})
        torch.testing.assert_close(tuple(q), tuple(part.detach() for part in expected[2]))
        gradients, exact = (
            torch.autograd.grad(of, weights, allow_unused=True, materialize_grads=True)
            for of in (loss, expected[0])
        )
        torch.testing.assert_close(gradients, exact)
    assert len(graphs) == (len(set(SIZES)) if name in BY_SIZE else 2 if name in CONVOLUTIONS else 1)


def test_a_part_that_is_wrong_is_named_without_the_compiler(graphs):
    model = vae()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        CompiledPass(model, "default")(images(3, (1, 5, 5)), model.draw_noise(3, random()), 0, None)
    assert not graphs


def test_a_mode_that_torch_does_not_have_is_refused(tmp_path):
    result = run(tmp_path, "compile=defualt")
    assert result.code == 2
    assert "compile=defualt: must be" in result.err
    assert "did you mean default?" in result.err


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
@needs_compiler
@pytest.mark.slow
def test_a_compiled_run_has_the_numbers_of_an_ordinary_one_and_resumes(tmp_path):
    quick = ("data.train_size=100", "data.batch_size=32", "threads=1", "callbacks=no_pictures")
    plain = trained(tmp_path / "plain", *quick, "trainer.max_epochs=2").record["metrics"]
    compiled = trained(tmp_path, *quick, "trainer.max_epochs=2", "compile=default").record["metrics"]
    assert compiled["test/elbo"] == pytest.approx(plain["test/elbo"], rel=1e-4)
    first = trained(tmp_path / "short", *quick, "trainer.max_epochs=1", "compile=default", "name=short")
    torch.compiler.reset()
    resumed = run(first.outputs, "resume=short", "trainer.max_epochs=2")
    assert resumed.code == 0, resumed.err
    assert resumed.record["metrics"] == compiled

"""The file of a fitted prior over codes: it comes back, and a wrong one is refused in a line."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vaelab.errors import UserError
from vaelab.models import DiagonalGaussian, PixelCNN
from vaelab.training.code_priors import FILE_NAME, load_code_prior, save_code_prior

CODES = frozenset({"codes"})
POSTERIOR = SimpleNamespace(code_shape=(2, 3, 2), number_of_codes=5, provides=CODES)
RECORD = {"weights_sha256": "0123"}


@pytest.fixture
def saved(tmp_path: Path) -> PixelCNN:
    network = PixelCNN(POSTERIOR.code_shape, 5, width=6, layers=2)
    save_code_prior(tmp_path, network, RECORD)
    return network


def test_it_comes_back_with_its_size(saved, tmp_path):
    network = load_code_prior(tmp_path, RECORD, POSTERIOR)
    codes = torch.randint(5, (4, 12))
    assert torch.equal(network.log_prob_of(codes), saved.log_prob_of(codes))
    assert not any(parameter.requires_grad for parameter in network.parameters())


def refusal(folder: Path, record=RECORD, posterior=POSTERIOR) -> str:
    with pytest.raises(UserError) as caught:
        load_code_prior(folder, record, posterior)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert f"vaelab-evaluate {folder} eval=code_prior force=true" in text
    return text


def test_one_that_is_not_there(tmp_path):
    assert refusal(tmp_path).startswith(f"There is no {tmp_path / FILE_NAME}")


def test_a_run_without_codes_is_told_which_models_have_them(tmp_path):
    posterior = DiagonalGaussian(latent_dim=3)
    with pytest.raises(UserError) as caught:
        load_code_prior(tmp_path, RECORD, posterior)
    assert str(caught.value) == (
        f"{tmp_path} is no run with codes, over which a prior could be fitted. "
        "Use model=vq_vae, fsq_vae or residual_vq_vae."
    )


def test_one_of_other_weights_or_codes(saved, tmp_path):
    assert "was fitted to codes of other weights" in refusal(tmp_path, {"weights_sha256": "4567"})
    for other in (
        SimpleNamespace(code_shape=(2, 2, 3), number_of_codes=5, provides=CODES),
        SimpleNamespace(code_shape=(2, 3, 2), number_of_codes=6, provides=CODES),
    ):
        assert "is a prior over other codes" in refusal(tmp_path, posterior=other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_whose_weights_are_not_finite(saved, tmp_path, value):
    saved.bias.data[1, 2, 3] = value
    save_code_prior(tmp_path, saved, RECORD)
    assert refusal(tmp_path).startswith(f"{tmp_path / FILE_NAME} holds weights that are no finite numbers: ")


def test_one_whose_weights_are_no_real_tensors_of_their_shape(saved, tmp_path):
    state = saved.state_dict()
    bias = saved.bias.detach()
    expanded, whole, cut = torch.zeros(1).expand_as(bias), bias.long(), bias[:, :, :4].clone()
    for other, text in (
        (expanded, "no finite numbers"),
        (bias.to(torch.complex64), "no finite numbers"),
        (whole, "over other codes"),
        (cut, "over other codes"),
        (None, "over other codes"),
    ):
        torch.save({"network": state | {"bias": other}, "weights_sha256": "0123"}, tmp_path / FILE_NAME)
        assert text in refusal(tmp_path)


class Harmful:
    def __reduce__(self):
        return (Path("harm").touch, ())


def test_one_from_a_stranger_runs_nothing(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = saved.state_dict()
    vast = torch.zeros(1).expand(10**6, 3, 2)
    for content, text in (
        ({"network": state | {"position": Harmful()}, "weights_sha256": "0123"}, "UnpicklingError"),
        ({"network": {}, "weights_sha256": "0123"}, "KeyError"),
        ([], "TypeError"),
        ({"network": state | {"position": vast}, "weights_sha256": "0123"}, "over other codes"),
    ):
        torch.save(content, tmp_path / FILE_NAME)
        assert text in refusal(tmp_path)
    assert not Path("harm").exists()


def test_one_that_is_damaged(saved, tmp_path):
    file = tmp_path / FILE_NAME
    content = bytearray(file.read_bytes())
    weights = content.index(saved.outer.detach().numpy().tobytes())
    content[weights + 10] ^= 255
    file.write_bytes(content)
    assert "is not a readable prior" in refusal(tmp_path)
    file.write_bytes(content[:100])
    assert "is not a readable prior" in refusal(tmp_path)

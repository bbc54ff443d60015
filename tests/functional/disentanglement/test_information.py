import math

import numpy as np
import pytest
import torch
from planted_codes import codes, grid
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.metrics import mutual_info_score

from support.chance import SIGMAS
from vaelab.functional.disentanglement import mig, mig_chen, modularity
from vaelab.functional.disentanglement.information import information_table, modularity_of_information
from vaelab.functional.disentanglement.inputs import binned
from vaelab.functional.randomness import generator


def test_information_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    a, b = random.integers(0, 7, (500, 3)), random.integers(0, 4, (500, 2))
    b[:, 1] = a[:, 0] // 2
    expected = [[mutual_info_score(a[:, i], b[:, j]) for j in range(2)] for i in range(3)]
    np.testing.assert_allclose(information_table(a, b), expected, rtol=1e-10, atol=1e-12)


def test_bins_are_those_of_numpy_histograms():
    z = np.random.default_rng(1).standard_normal((1000, 2))
    z[:, 1] = np.round(z[:, 1] * 4)  # many values on edges
    found = binned(z, 20)
    for x, bins in zip(z.T, found.T, strict=True):
        assert np.bincount(bins, minlength=20).tolist() == np.histogram(x, 20)[0].tolist()
    assert len(np.unique(binned(np.full((5, 1), 3.0)))) == 1


def test_a_perfect_code_has_a_gap_of_one():
    factors = grid()
    found = mig(codes(factors), factors)
    assert found.score == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(np.diag(found.information), np.log([3, 4, 5]))
    z = codes(factors)
    assert mig(np.concatenate([z, z], axis=1), factors).score == pytest.approx(0, abs=1e-12)


def test_half_of_a_factor_known_a_second_time_halves_its_gap():
    """z_0 = v has log 4 nats of v, z_1 = [v >= 2] has log 2: the gap is (log 4 - log 2) / log 4 = 1/2."""
    factors = grid(4, 3)
    z = np.stack([factors[:, 0], factors[:, 0] >= 2, factors[:, 1]], axis=1).astype(float)
    found = mig(z, factors)
    assert found.gaps.tolist() == pytest.approx([0.5, 1])
    assert found.score == pytest.approx(0.75)


def test_an_uncertain_code_has_the_information_of_its_channel():
    """z flips a binary v in a quarter of the images: I = log 2 - h(1/4)."""
    factors = grid(2, 2, repeats=4)
    flip = np.repeat([0, 0, 0, 1], 4)
    z = np.stack([factors[:, 0] ^ flip, factors[:, 1]], axis=1).astype(float)
    h = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert mig(z, factors).gaps[0] == pytest.approx((math.log(2) - h) / math.log(2))


def test_tensors_do_as_arrays_do():
    factors = grid(repeats=4)
    z = codes(factors, noise=0.3).astype(np.float32)
    found = mig(torch.from_numpy(z).requires_grad_(), torch.from_numpy(factors))
    assert found.score == mig(z, factors).score


def test_chens_gap_has_the_information_of_a_gaussian_channel():
    """q(z|v) is N(v, s^2) for every image with v = +-1: I = h(mixture) - h(N), by quadrature."""
    number, s = 4000, 0.8
    factors = grid(2, 2, repeats=number // 4)
    loc = np.stack([2.0 * factors[:, 0] - 1, np.zeros(number), 3 * factors[:, 1]], axis=1)
    scale = np.full_like(loc, s)

    def surprise(z: float) -> float:
        p = 0.5 * norm.pdf(z, 1, s) + 0.5 * norm.pdf(z, -1, s)
        return -p * math.log(p)

    expected = quad(surprise, -8, 8)[0] - norm(scale=s).entropy()
    found = mig_chen(loc, scale, factors)
    # the log ratio has a standard deviation below 0.5
    assert found.information[0, 0] == pytest.approx(expected, abs=SIGMAS * 0.5 / math.sqrt(number))
    assert found.information[1].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert found.gaps[0] == pytest.approx(found.information[0, 0] / math.log(2), abs=1e-6)
    assert math.isnan(mig_chen(loc, 0 * scale, factors).score)


def test_chens_gap_is_that_of_its_definition():
    """Sums over pairs of images, written out; the trap is a table read in the wrong order."""
    random = np.random.default_rng(3)
    factors = grid(3, 2, repeats=5)
    loc = codes(factors, noise=0.3, idle=1)
    scale = random.uniform(0.2, 1.0, loc.shape)
    noise = torch.randn(loc.shape, generator=generator(7, "disentanglement/mig_chen")).double().numpy()
    z = loc + scale * noise
    information = np.zeros((3, 2))
    for d in range(3):
        for k in range(2):
            for i in range(20):
                p = norm.pdf(z[i, d], loc[:, d], scale[:, d])
                same = factors[:, k] == factors[i, k]
                information[d, k] += (math.log(p[same].mean()) - math.log(p.mean())) / 20
    found = mig_chen(loc, scale, factors, samples=20, seed=7)
    np.testing.assert_allclose(found.information, information.clip(0), rtol=1e-6, atol=1e-9)
    ordered = np.sort(information.clip(0), axis=0)
    expected = ((ordered[2] - ordered[1]) / np.log([3, 2])).mean()
    assert found.score == pytest.approx(expected, rel=1e-6)


def test_modularity_by_hand():
    """Row 1: 1 - (1 + 0) / (4 * 2) = 7/8; row 2: one factor, 1; row 3: nothing; row 4: all alike, 0."""
    table = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    found = modularity_of_information(table)
    assert found.per_dimension.tolist() == [0.875, 1, 0, 0]
    assert found.score == pytest.approx(1.875 / 4)
    assert found.active_score == pytest.approx(1.875 / 3)
    assert found.active_dimensions == 3


def test_modularity_of_planted_codes():
    factors = grid(repeats=4)
    z = codes(factors)
    assert modularity(z, factors).score == pytest.approx(1)
    assert modularity(np.concatenate([z, z], axis=1), factors).score == pytest.approx(1)
    assert math.isnan(modularity(z, factors[:, :1]).score)
    with_empty = modularity(codes(factors, empty=1), factors)
    assert with_empty.score == pytest.approx(3 / 4)
    assert (with_empty.active_score, with_empty.active_dimensions) == (pytest.approx(1), 3)
    both = np.stack([10.0 * factors[:, 0] + factors[:, 1], factors[:, 2]], axis=1)
    a, b = math.log(3), math.log(4)
    expected = (1 - (a / b) ** 2 / 2 + 1) / 2
    assert modularity(both, factors, bins=1000).score == pytest.approx(expected)


@pytest.mark.parametrize(
    ("z", "factors", "words"),
    [
        (np.zeros((6, 2)), np.zeros((6, 1)), "factor 0 has the same value"),
        (np.zeros((6, 2)), np.arange(6)[:, None] / 7, "too many for classes"),
        (np.zeros((5, 2)), grid(2, 3), "got 5 and 6"),
        (np.full((6, 2), np.nan), grid(2, 3), "12 values NaN"),
        (np.zeros((6, 1)), grid(2, 3), "at least two dimensions"),
        (np.zeros(6), grid(2, 3), "must be"),
        (np.zeros((6, 2)), np.arange(6), "must be"),
    ],
)
def test_what_makes_no_sense_is_refused(z, factors, words):
    with pytest.raises(ValueError, match=words):
        mig(z, factors)

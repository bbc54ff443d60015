import math

import numpy as np
import pytest
from planted_codes import codes, grid
from scipy.linalg import sqrtm
from scipy.stats import spearmanr
from sklearn.linear_model import Lasso

from vaelab.functional.disentanglement import gaussian_total_correlation, udr, wasserstein_correlation
from vaelab.functional.disentanglement.udr import relative_strength

FACTORS = grid(repeats=5)


def models(*tables: np.ndarray) -> list:
    return [(z, np.ones(z.shape[1])) for z in tables]


def test_relative_strength_by_hand():
    """Columns: 1/1 + .25/1; rows: 1/1.5 + .25/.5; over 2 + 2 dimensions."""
    table = np.array([[1.0, 0.5], [0.0, 0.5]])
    assert relative_strength(table) == pytest.approx((1 + 0.25 + 1 / 1.5 + 0.25 / 0.5) / 4)
    assert relative_strength(np.eye(3)) == pytest.approx(1)
    assert relative_strength(np.full((4, 4), 0.3)) == pytest.approx(0.3 / 4)
    # one dimension against two: the paper weighs the three alike, their means would give 0.5625
    assert relative_strength(np.array([[1.0, 0.5]])) == pytest.approx((1 + 0.5 + 1 / 1.5) / 3)


def test_the_same_code_in_other_order_and_sign_is_found_again():
    z = codes(FACTORS)
    same = models(z, -z[:, [2, 0, 1]], 3 * z[:, [1, 2, 0]] + 1)
    found = udr(same, "spearman")
    np.testing.assert_allclose(found.scores, 1)
    assert np.isnan(found.pairwise.diagonal()).all()
    # a lasso with alpha 0.1 shrinks the weight 1 of independent standardised codes to 0.9
    np.testing.assert_allclose(udr(same, "lasso").scores, 0.9, atol=1e-3)


def test_uninformative_dimensions_are_left_out_and_counted():
    z = codes(FACTORS, idle=2)
    cost = np.array([1, 1, 1, 0.005, 0.01])
    found = udr([(z, cost), (z[:, [0, 1, 2]], np.ones(3)), (z[:, ::-1], cost[::-1])], "spearman")
    assert found.informative.tolist() == [3, 3, 3]
    np.testing.assert_allclose(found.scores, 1)
    everything = udr([(z, cost), (z, cost)], threshold=0.0)
    assert everything.informative.tolist() == [5, 5]


def test_a_collapsed_model_shares_nothing():
    z = codes(FACTORS)
    found = udr([(z, np.ones(3)), (z, np.ones(3)), (0 * z, np.zeros(3))], "spearman")
    assert found.informative.tolist() == [3, 3, 0]
    assert found.scores.tolist() == pytest.approx([0.5, 0.5, 0])  # medians of 1 and 0
    assert found.pairwise[2, :2].tolist() == [0, 0]


def test_the_score_is_that_of_its_definition():
    random = np.random.default_rng(1)
    base = random.standard_normal((200, 3))
    a, b, c = (base @ random.standard_normal((3, 3)) + random.standard_normal((200, 3)) for _ in range(3))
    dropped = np.array([1, 0.001, 1])
    given = [(a, np.ones(3)), (b, dropped), (c, np.ones(3))]
    used = [a, b[:, [0, 2]], c]
    used = [(z - z.mean(0)) / z.std(0) for z in used]

    def strength(r):
        rows = [max(row) ** 2 / sum(row) if sum(row) else 0 for row in r]
        columns = [max(column) ** 2 / sum(column) if sum(column) else 0 for column in zip(*r, strict=True)]
        return (sum(rows) + sum(columns)) / (len(rows) + len(columns))

    def lasso(x, y):
        return [
            [abs(Lasso(0.1).fit(x, y[:, j]).coef_[i]) for j in range(y.shape[1])] for i in range(x.shape[1])
        ]

    def spearman(x, y):
        return [[abs(spearmanr(u, v)[0]) for v in y.T] for u in x.T]

    for name, table in (("lasso", lasso), ("spearman", spearman)):
        expected = [[strength(table(x, y)) if x is not y else math.nan for y in used] for x in used]
        found = udr(given, name)
        np.testing.assert_allclose(found.pairwise, expected, rtol=1e-3)
        np.testing.assert_allclose(found.scores, np.nanmedian(expected, axis=0), rtol=1e-3)


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (models(codes(FACTORS)), {}, "at least 2"),
        (models(codes(FACTORS), codes(FACTORS)[1:]), {}, "300, 299"),
        (models(*2 * [codes(FACTORS)]), {"similarity": "laso"}, "must be one of lasso, spearman"),
        ([(codes(FACTORS), np.ones(2))] * 2, {}, r"must be \(3,\)"),
    ],
)
def test_what_makes_no_sense_is_refused(given, options, words):
    with pytest.raises(ValueError, match=words):
        udr(given, **options)


def correlated(rho: float, number: int = 400) -> np.ndarray:
    """Codes whose sample correlation is rho exactly; standard deviations 1 and 3."""
    draws = np.random.default_rng(0).standard_normal((number, 2))
    white = np.linalg.qr(draws - draws.mean(0))[0] * math.sqrt(number)
    return white @ np.linalg.cholesky([[1, rho], [rho, 1]]).T * [1, 3]


def test_total_correlation_of_a_pair():
    assert gaussian_total_correlation(correlated(0.6)) == pytest.approx(-0.5 * math.log(1 - 0.36))
    assert gaussian_total_correlation(correlated(0.0)) == pytest.approx(0, abs=1e-12)
    z = np.concatenate([correlated(0.6) * 100, np.ones((400, 1))], axis=1)  # a constant is independent
    assert gaussian_total_correlation(z) == pytest.approx(-0.5 * math.log(0.64))
    assert gaussian_total_correlation(z[:, [0, 1, 0]]) == math.inf
    assert gaussian_total_correlation(z[:, [2]]) == 0


def test_wasserstein_correlation_of_gaussians():
    """Against W^2 = tr(A + B - 2 (A^1/2 B A^1/2)^1/2), and a pair of unit variances in closed form."""
    z = np.random.default_rng(2).standard_normal((300, 4)) @ np.random.default_rng(3).standard_normal((4, 4))
    a = np.cov(z.T)
    b = np.diag(np.diag(a))
    root = sqrtm(a)
    expected = np.trace(a + b - 2 * sqrtm(root @ b @ root)).real
    assert wasserstein_correlation(z) == pytest.approx(expected)
    assert wasserstein_correlation(3 * z) == pytest.approx(9 * expected)
    assert wasserstein_correlation(3 * z, normalised=True) == pytest.approx(expected / np.trace(a))
    pair = correlated(0.6) / [1, 3]  # eigenvalues 1.6 and 0.4; the sample's covariance has N - 1
    closed = (4 - 2 * (math.sqrt(1.6) + math.sqrt(0.4))) * 400 / 399
    assert wasserstein_correlation(pair) == pytest.approx(closed)
    assert wasserstein_correlation(correlated(0.0)) == pytest.approx(0, abs=1e-9)
    assert math.isnan(wasserstein_correlation(np.ones((5, 2)), normalised=True))

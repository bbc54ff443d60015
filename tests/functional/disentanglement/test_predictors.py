import math

import numpy as np
import pytest
from planted_codes import codes, grid
from sklearn.ensemble import GradientBoostingClassifier

from support.chance import SIGMAS
from vaelab.functional.disentanglement import dci, explicitness, sap
from vaelab.functional.disentanglement.dci import completeness, disentanglement
from vaelab.functional.disentanglement.inputs import split

FACTORS = grid(repeats=10)  # 600 images


def test_disentanglement_and_completeness_by_hand():
    assert disentanglement(np.eye(3)) == pytest.approx(1)
    assert completeness(np.eye(3)) == pytest.approx(1)
    assert disentanglement(np.ones((4, 3))) == pytest.approx(0)
    assert completeness(np.ones((4, 3))) == pytest.approx(0)
    # rows weigh 3/4 and 1/4; the first has entropy h(1/3), the second none
    table = np.array([[1.0, 2.0], [0.0, 1.0], [0.0, 0.0]])
    h = -(1 / 3 * math.log2(1 / 3) + 2 / 3 * math.log2(2 / 3))
    assert disentanglement(table) == pytest.approx(3 / 4 * (1 - h) + 1 / 4)
    # columns weigh 1/4 and 3/4; to the base of three dimensions
    h3 = -(1 / 3 * math.log(1 / 3) + 2 / 3 * math.log(2 / 3)) / math.log(3)
    assert completeness(table) == pytest.approx(1 / 4 + 3 / 4 * (1 - h3))
    assert disentanglement(np.zeros((2, 2))) == 0
    assert math.isnan(disentanglement(np.ones((2, 1))))
    assert math.isnan(completeness(np.ones((1, 2))))


def test_dci_of_planted_codes():
    perfect = dci(codes(FACTORS, empty=1), FACTORS)
    assert perfect.disentanglement > 0.99
    assert perfect.completeness > 0.99
    assert perfect.informativeness > 0.98
    np.testing.assert_allclose(perfect.importance.sum(0), 1)
    assert (perfect.importance[3] == 0).all()

    order = [2, 3, 0, 1]
    permuted = dci(codes(FACTORS, empty=1)[:, order] * 3, FACTORS)
    np.testing.assert_allclose(permuted.importance, perfect.importance[order], atol=1e-3)

    nothing = dci(np.random.default_rng(0).standard_normal((600, 4)), FACTORS)
    assert nothing.disentanglement < 0.2
    assert nothing.informativeness < 0.45


def test_two_noisy_copies_are_disentangled_but_not_complete():
    z = np.concatenate([codes(FACTORS, noise=0.15, seed=s) for s in (1, 2)], axis=1)
    one, two = dci(z[:, :3], FACTORS), dci(z, FACTORS)
    assert two.disentanglement > 0.7
    assert two.completeness < one.completeness - 0.2
    halves = np.stack([z[:, 0] + z[:, 1], z[:, 0] - z[:, 1], z[:, 2]], axis=1)
    assert dci(halves, FACTORS).disentanglement < one.disentanglement - 0.3


def test_informativeness_is_the_accuracy_on_held_out_images():
    """A code that knows the factor in 3 of 4 images and lies in the fourth."""
    factors = grid(2, 2, repeats=300)
    random = np.random.default_rng(0)
    z = factors + 0.0
    z[:, 0] = np.where(random.random(len(z)) < 0.25, 1 - z[:, 0], z[:, 0])
    found = dci(z, factors)
    assert found.informativeness == pytest.approx((0.75 + 1) / 2, abs=SIGMAS * 0.43 / 2 / math.sqrt(400))
    assert found.train_informativeness == pytest.approx(
        (0.75 + 1) / 2, abs=SIGMAS * 0.43 / 2 / math.sqrt(800)
    )


def test_boosting_agrees_with_the_trees_of_disentanglement_lib():
    """GradientBoostingClassifier, its protocol, on codes neither perfect nor hopeless."""
    factors = grid(3, 3, repeats=60)
    z = codes(factors, noise=0.6, idle=1)
    z[:, 1] += 0.5 * z[:, 0]
    train, test = split(len(z), 1 / 3, 0)
    importance, accuracy = [], []
    for column in factors.T:
        model = GradientBoostingClassifier(random_state=0).fit(z[train], column[train])
        importance.append(model.feature_importances_)
        accuracy.append(model.score(z[test], column[test]))
    reference = np.array(importance).T
    found = dci(z, factors)
    np.testing.assert_allclose(found.importance, reference, atol=0.07)
    assert found.disentanglement == pytest.approx(disentanglement(reference), abs=0.07)
    assert found.completeness == pytest.approx(completeness(reference), abs=0.07)
    assert found.informativeness == pytest.approx(np.mean(accuracy), abs=0.04)


def test_sap_of_classes_by_hand():
    """Two values, told apart by the sign of their dimension alone; others are right in half the images."""
    factors = grid(2, 2, repeats=300)
    z = codes(factors, empty=1)
    found = sap(z, factors)
    assert found.predictability[0, 0] == found.predictability[1, 1] == 1
    # a third of 1200 images: a standard error of 0.025
    assert found.predictability[1, 0] == pytest.approx(0.5, abs=0.1)
    assert found.score == pytest.approx(0.5, abs=0.1)
    assert sap(np.concatenate([z, z], axis=1), factors).score == pytest.approx(0)
    assert sap(z[:, ::-1], factors).score == pytest.approx(found.score)


def test_explicitness_is_the_area_under_the_curve():
    """A binary factor seen through noise: the area is the share of pairs in the right order."""
    random = np.random.default_rng(4)
    factors = grid(2, 2, repeats=150)
    z = factors + random.standard_normal((600, 2)) * [1.0, 0.01]
    found = explicitness(z[:, [0]], factors[:, [0]])
    _, test = split(600, 1 / 3, 0)
    x, y = z[test, 0], factors[test, 0]
    expected = (x[y == 1][:, None] > x[y == 0]).mean()
    assert found.score == pytest.approx(expected, abs=1e-12)
    both = explicitness(z, factors)
    assert both.per_factor[1] == pytest.approx(1)
    assert both.score == pytest.approx(both.per_factor.mean())
    assert both.train_score > 0.8


def test_a_value_in_the_middle_is_not_explicit_in_one_dimension():
    """0, 1, 2 in a row: a plane cuts off 0 and 2, but not 1, so that (1 + 1 + 1/2) / 3 is expected."""
    factors = grid(3, 2, repeats=200)
    assert explicitness(codes(factors)[:, [0]], factors[:, [0]]).score == pytest.approx(2.5 / 3, abs=0.08)
    corners = np.eye(3)[factors[:, 0]]
    assert explicitness(corners, factors[:, [0]]).score == pytest.approx(1)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_split_needs_both_parts(share):
    with pytest.raises(ValueError, match="test_share"):
        sap(codes(FACTORS), FACTORS, test_share=share)

"""What the picture of a plan draws."""

import pytest

from vaelab.figures.plan import plan_figure
from vaelab.functional.reference_curve import ReferenceCurve, beta_grid


def test_it_draws_thresholds_and_the_points_of_the_betas():
    curve = ReferenceCurve((16.0, 4.0, 0.4, 1e-9), constant_distortion=20.0, latent_dim=2)
    betas = beta_grid(curve.thresholds, 2)
    left, right = plan_figure(curve, betas, "A title").axes
    assert left.lines[0].get_ydata().tolist() == [16.0, 4.0, 0.4]
    texts = [text.get_text() for text in left.texts]
    assert texts == [*(f"β {b:g}: {curve.at(b).active_units} live" for b in betas), "latent_dim 2"]
    line, *points = right.lines
    assert [point.get_xydata().tolist() for point in points] == [
        [[curve.at(beta).rate, curve.at(beta).distortion]] for beta in betas
    ]
    assert line.get_ydata()[-1] == pytest.approx(20.0)
    assert len(set(line.get_xdata())) > 50

"""plan.json: written, read, and not read where it is another's."""

import pytest

from vaelab.runs.plans import PLAN, Reference, read_reference, write_plan


def test_what_is_written_is_read(tmp_path):
    assert read_reference(tmp_path) is None
    write_plan(tmp_path / "sweep", {"betas": [1], "curve": {"rate": [2.0, 0.0], "distortion": [1.0, 5.5]}})
    assert read_reference(tmp_path / "sweep") == Reference([2.0, 0.0], [1.0, 5.5])


CURVES = (
    '{"rate": [1]}',
    '{"rate": [1], "distortion": [1, 2]}',
    '{"rate": [], "distortion": []}',
    '{"rate": [NaN], "distortion": [1]}',
    '{"rate": ["x"], "distortion": [1]}',
    '{"rate": [null], "distortion": [1]}',
)


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", *(f'{{"curve": {curve}}}' for curve in CURVES)])
def test_what_is_no_plan_is_none(tmp_path, text):
    (tmp_path / PLAN).write_text(text)
    assert read_reference(tmp_path) is None

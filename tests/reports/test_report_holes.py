"""The note that a low hole rate says little in many dimensions."""

import pytest
from sweeps_of_records import make_record, table_of

from vaelab.reports.columns import details, table_note

NOTE = "does not rule them out"


def holes(dimensions, codes=2000.0, **more):
    return make_record(
        more={"hole_rate": 0.03, "kl_per_dim": [0.5] * dimensions, "aggregate_images": codes, **more}
    )


@pytest.mark.parametrize(
    ("codes", "dimensions", "blind"),
    # N^(-1/D) > 0.9: from D = log N / log(1 / 0.9) = 72.1 and 87.4 on
    [
        (2000.0, 72, False),
        (2000.0, 73, True),
        (10_000.0, 87, False),
        (10_000.0, 88, True),
        (2000.0, 196, True),
    ],
)
def test_each_table_with_a_blind_hole_rate_says_so(codes, dimensions, blind):
    record = holes(dimensions, codes)
    record["metrics"]["eval/hole_rate"] = 0.02
    table = table_of(record)
    health, evaluation = details(table)
    for note in (table_note(table), health.note, evaluation.note):
        assert (NOTE in note) == blind
        assert (f"{codes:,.0f} codes in {dimensions} dimensions" in note) == blind
        assert ("low_density_rate" in note) == blind


def test_it_stands_only_where_such_a_hole_rate_is_shown():
    small, large = holes(10), holes(196)
    assert NOTE in table_note(table_of(small, large))
    large["metrics"]["eval/fid_prior"] = 3.0
    *_, evaluation = details(table_of(large))
    assert NOTE not in evaluation.note
    assert NOTE not in table_note(table_of(make_record(), holes(196, hole_rate=None), holes(196, None)))

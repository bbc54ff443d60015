"""What the number of posteriors limits, and targets."""

import math

import pytest
from sweeps_of_records import begins, make_record, sentence

LOG = math.log(1237)  # of 1,236 posteriors and the own one


@pytest.mark.parametrize(("low", "said"), [(LOG - 0.68, True), (LOG - 0.70, False)])  # log 2 = 0.693
def test_a_bracket_that_the_number_of_posteriors_limits_is_named(low, said):
    records = [
        make_record(0.1, more={"mutual_information_low": low, "aggregate_posteriors": 1236.0}),
        make_record(1.0, more={"mutual_information_low": 2.0, "aggregate_posteriors": 1236.0}),
    ]
    assert begins(records, "The number of posteriors") == said
    if said:
        assert sentence(records, "The number of posteriors") == (
            "The number of posteriors limits what is known of the mutual information of beta 0.1 (at least "
            "6.44): with 1236 of them no more than log(1237) = 7.12 nats can show. More would narrow its "
            "bracket and those of the aggregate KL and the total correlation."
        )


def test_old_records_say_nothing_of_it():
    assert not begins(
        [make_record(1, more={"mutual_information": 5.8, "aggregate_images": 360.0})],
        "The number of posteriors",
    )

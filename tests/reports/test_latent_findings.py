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
    assert begins(records, "Of the mutual information") == said
    if said:
        assert sentence(records, "Of the mutual information") == (
            "Of the mutual information of beta 0.1 (at least 6.44) no more is known because of the number of "
            "posteriors: 1236 posteriors cannot show more than log(M + 1) = 7.12 nats. The brackets of "
            "aggregate KL "
            "and total correlation are wide for the same reason; more images would narrow them."
        )


def test_old_records_say_nothing_of_it():
    assert not begins(
        [make_record(1, more={"mutual_information": 5.8, "aggregate_images": 360.0})], "Of the mutual"
    )

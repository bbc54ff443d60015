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


def test_a_missed_target_is_named_with_both_numbers():
    def record(reached: float, seed: int = 0):
        more = {"train/distortion_target": 20.0, "train/distortion_reached": reached}
        more["test/constant_distortion"] = 27.0  # 2% of the way is 0.14
        made = make_record(1.0, seed)
        return {**made, "metrics": made["metrics"] | more}

    assert sentence([record(221.6)], "Target not reached") == (
        "Target not reached, so these are not what their objective asks for: beta 1 (the distortion of "
        "training images is 221.60 nats, the target 20.00)."
    )
    assert "in 1 of 2 runs" in sentence([record(221.6, 0), record(20.1, 1)], "Target not reached")
    assert not begins([record(20.1)], "Target not reached")

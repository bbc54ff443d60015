import json
import math
import os

import numpy as np
import pytest
import torch

from vaelab.runs.record import FILE_NAME, plain, read_record, write_record

RECORD = {"schema": 1, "status": "finished", "seed": 0, "metrics": {"test/elbo": -101.25, "kl": [1.0, 0.5]}}


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_what_is_written_is_read_back(tmp_path):
    path = write_record(tmp_path / "new" / "folder", RECORD)
    assert path == tmp_path / "new" / "folder" / "results.json"
    assert read_record(path.parent) == RECORD


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_has_no_word_for_is_null(tmp_path, number):
    record = {"schema": 1, "rate": number, "kl": [number, 1.0], "t": torch.tensor([number, 2.0])}
    path = write_record(tmp_path, record)
    found = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)  # NaN is not JSON
    assert found == {"schema": 1, "rate": None, "kl": [None, 1.0], "t": [None, 2.0]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.tensor(2.0), 2.0),
        (torch.tensor([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (np.array([True, False]), [True, False]),
        ((1, "a", None, True), [1, "a", None, True]),
        ({1: {"a": (2,)}}, {"1": {"a": [2]}}),
        (torch.float32, "torch.float32"),
    ],
)
def test_values_become_jsons_own_types(value, expected):
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)


def test_a_value_that_cannot_be_written_leaves_the_old_record(tmp_path):
    write_record(tmp_path, RECORD)
    with pytest.raises(RuntimeError, match="no text"):
        write_record(tmp_path, {"schema": 1, "status": "running", "odd": Unprintable()})
    assert read_record(tmp_path) == RECORD
    assert os.listdir(tmp_path) == [FILE_NAME]


def test_no_record_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"status": "finished"}'])
def test_other_files_are_not_a_record(tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_record(tmp_path)

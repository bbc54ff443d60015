import json
import math
import os
import stat

import numpy as np
import pytest
import torch

from vaelab.runs import files
from vaelab.runs.record import FILE_NAME, plain, read_record, write_record

RECORD = {"schema": 1, "status": "finished", "seed": 0, "metrics": {"test/elbo": -101.25, "kl": [1.0, 0.5]}}


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_what_is_written_is_read_back(tmp_path):
    path = write_record(tmp_path / "new" / "folder", RECORD)
    assert path == tmp_path / "new" / "folder" / "results.json"
    assert read_record(path.parent) == RECORD


def test_a_record_replaces_the_one_before(tmp_path):
    write_record(tmp_path, RECORD)
    write_record(tmp_path, {"schema": 1, "status": "failed"})
    assert read_record(tmp_path) == {"schema": 1, "status": "failed"}
    assert os.listdir(tmp_path) == [FILE_NAME]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_has_no_word_for_is_null(tmp_path, number):
    write_record(
        tmp_path, {"schema": 1, "rate": number, "kl": [number, 1.0], "t": torch.tensor([number, 2.0])}
    )
    assert read_record(tmp_path) == {"schema": 1, "rate": None, "kl": [None, 1.0], "t": [None, 2.0]}


def refuse(constant: str) -> None:
    raise AssertionError(constant)


def test_the_file_is_json_by_the_book(tmp_path):
    text = write_record(tmp_path, {**RECORD, "rate": math.nan, "name": "Müller"}).read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=refuse)  # NaN and Infinity are Python's own words
    assert found["name"] == "Müller"
    assert text.endswith("}\n")


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


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_in_the_middle_leaves_the_old_record(tmp_path, monkeypatch, step):
    write_record(tmp_path, RECORD)

    def fail(*_) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_record(tmp_path, {"schema": 1, "status": "running"})
    assert read_record(tmp_path) == RECORD
    assert os.listdir(tmp_path) == [FILE_NAME]


def test_a_reader_never_sees_half_a_record(tmp_path, monkeypatch):
    """Until the new one is on the disk as a whole, the old one is what there is to read."""
    write_record(tmp_path, RECORD)
    seen = []
    sync = files.os.fsync

    def watched(descriptor) -> None:
        sync(descriptor)
        seen.append(read_record(tmp_path)["status"])
        seen.append([p for p in tmp_path.glob("*") if p.name != FILE_NAME and not p.name.startswith(".")])

    monkeypatch.setattr(files.os, "fsync", watched)
    write_record(tmp_path, {"schema": 1, "status": "new"})
    assert seen == [RECORD["status"], [], "new", []]  # the file, then its folder
    assert read_record(tmp_path) == {"schema": 1, "status": "new"}


def test_others_may_read_the_record(tmp_path):
    assert stat.S_IMODE(write_record(tmp_path, RECORD).stat().st_mode) & 0o444 == 0o444


def test_no_record_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"status": "finished"}'])
def test_other_files_are_not_a_record(tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_record(tmp_path)

"""Who trains in a folder is known of processes that live, that end and that are killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from vaelab.runs.lock import FILE_NAME, LOCK_NAME, LOST_SECONDS, beat, claim, is_alive, read_beat

HOLD = """
import sys, time
from vaelab.runs.lock import beat, claim
held = claim(sys.argv[1])
if held is None:
    sys.exit(3)
with held:
    beat(sys.argv[1], epoch=1)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def trainer(folder):
    """Another process that holds the folder's lock until it is told to end, or is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_beat_says_when_where_and_how_far(tmp_path):
    before = time.time()
    beat(tmp_path, epoch=3, max_epochs=10)
    found = read_beat(tmp_path)
    assert before <= found.pop("time") <= time.time()
    assert found == {"host": socket.gethostname(), "pid": os.getpid(), "epoch": 3, "max_epochs": 10}
    beat(tmp_path, epoch=4)
    assert read_beat(tmp_path)["epoch"] == 4
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_beat_that_cannot_be_read_is_none(tmp_path, content):
    assert read_beat(tmp_path) is None
    (tmp_path / FILE_NAME).write_bytes(content)
    assert read_beat(tmp_path) is None
    assert not is_alive(tmp_path)


def test_nobody_is_alive_in_an_empty_folder_and_looking_writes_nothing(tmp_path):
    assert not is_alive(tmp_path)
    assert not is_alive(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_one_process_alone_has_the_folder(tmp_path):
    with trainer(tmp_path):
        assert claim(tmp_path) is None
        assert is_alive(tmp_path)
        assert is_alive(tmp_path)  # looking did not take it away
        second = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], input="", text=True, check=False)
        assert second.returncode == 3


def test_a_process_that_ended_is_not_alive_and_its_folder_is_free(tmp_path):
    with trainer(tmp_path) as process:
        process.stdin.close()
        assert process.wait(timeout=60) == 0
        assert not is_alive(tmp_path)
    with claim(tmp_path):
        pass


def test_a_killed_process_is_not_alive_though_its_lock_file_and_fresh_beat_are_there(tmp_path):
    with trainer(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        assert (tmp_path / LOCK_NAME).exists()
        assert time.time() - read_beat(tmp_path)["time"] < LOST_SECONDS
        assert not is_alive(tmp_path)
        assert claim(tmp_path) is not None


def test_a_claim_ends_with_its_block(tmp_path):
    with claim(tmp_path):
        assert is_alive(tmp_path)
    assert not is_alive(tmp_path)


@pytest.mark.parametrize(("age", "alive"), [(1.0, True), (LOST_SECONDS + 1, False)])
def test_of_another_machine_the_beat_tells(tmp_path, age, alive):
    content = {"time": time.time() - age, "host": "another-machine", "pid": 1, "epoch": 2}
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    assert is_alive(tmp_path) is alive

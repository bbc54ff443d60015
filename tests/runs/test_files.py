"""A file is there whole or not at all."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from vaelab.runs.files import remove_temporary, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [True, False])
def test_what_was_written_takes_the_place_of_the_old(tmp_path, durable):
    path = tmp_path / "new" / "a.txt"
    for text in ("one", "two, which is longer", "3"):
        with replacing(path, durable=durable) as file:
            file.write_text(text)
        assert path.read_text() == text
    assert names(path.parent) == ["a.txt"]


def test_the_old_file_stays_until_the_new_one_is_on_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")
    seen = []
    monkeypatch.setattr("os.fsync", lambda _: seen.append(path.read_text()))
    with replacing(path) as file:
        file.write_text("new")
        assert path.read_text() == "old"
    assert seen == ["old", "new"]  # the file, then its folder


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with replacing(path) as file:
            file.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_block_that_writes_nothing_is_an_error_and_not_an_empty_file(tmp_path, durable):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path, durable=durable):
        pass
    assert path.read_text() == "old"


def test_the_suffix_says_the_format_to_who_writes(tmp_path):
    with replacing(tmp_path / "picture.png") as file:
        Image.new("L", (2, 2)).save(file)
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.format == "PNG"


def test_others_may_read_the_file_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        with replacing(tmp_path / "a.txt") as file:
            file.write_text("x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_a_killed_process_leaves_the_old_file_and_a_temporary_one_that_can_be_removed(tmp_path):
    path = tmp_path / "job" / "a.txt"
    path.parent.mkdir()
    path.write_text("old")
    code = (
        "import os, signal, sys; from vaelab.runs.files import replacing\n"
        "with replacing(sys.argv[1]) as file:\n"
        "    file.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -9
    assert path.read_text() == "old"
    assert len(names(path.parent)) == 2
    (path.parent / ".hidden").touch()
    remove_temporary(tmp_path)
    assert names(path.parent) == [".hidden", "a.txt"]

import hashlib
import random

import pytest

from vaelab.data.download import fetch, git_blob_id
from vaelab.errors import UserError

CONTENT = random.Random(0).randbytes(300_000)
MD5 = {"a.gz": f"md5:{hashlib.md5(CONTENT).hexdigest()}"}
GIT = {"a.gz": f"git:{hashlib.sha1(b'blob 300000' + bytes(1) + CONTENT).hexdigest()}"}


def test_a_good_file_arrives_under_its_name(tmp_path, mirror, capsys):
    mirror.files["a.gz"] = CONTENT
    fetch(MD5, [mirror.url], tmp_path / "new" / "folder")
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["a.gz"]
    assert (tmp_path / "new" / "folder" / "a.gz").read_bytes() == CONTENT
    assert capsys.readouterr() == ("", ""), "no progress bar where there is no terminal"


@pytest.mark.parametrize("checksums", [MD5, GIT], ids=["md5", "git"])
def test_the_next_mirror_is_tried(tmp_path, start_mirror, checksums):
    empty, corrupt, cut, good = (start_mirror() for _ in range(4))
    corrupt.files["a.gz"] = CONTENT[:-1] + b"x"
    cut.files["a.gz"] = CONTENT
    cut.cut.add("a.gz")
    good.files["a.gz"] = CONTENT
    fetch(checksums, [m.url for m in (empty, corrupt, cut, good)], tmp_path)
    assert all(m.asked == ["a.gz"] for m in (empty, corrupt, cut, good))
    assert (tmp_path / "a.gz").read_bytes() == CONTENT
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("missing", "answered 404"),
        ("corrupt", "sent a file with a wrong checksum"),
        ("cut", r"failed \(\w+\)|wrong checksum"),
        ("closed", r"failed \(ConnectionError\)"),
        ("no address", r"failed \(MissingSchema\)"),
    ],
)
def test_a_failure_leaves_nothing_and_says_why(tmp_path, mirror, fault, reason):
    url = mirror.url
    if fault == "corrupt":
        mirror.files["a.gz"] = CONTENT[::-1]
    elif fault == "cut":
        mirror.files["a.gz"] = CONTENT
        mirror.cut.add("a.gz")
    elif fault == "closed":
        url = "http://127.0.0.1:9/"  # the port of "discard": nothing listens
    elif fault == "no address":
        url = "example/"
    with pytest.raises(UserError, match=rf"Could not download a.gz: {url} ({reason})\. Missing: a.gz"):
        fetch(MD5, [url], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_mirror_has_its_reason_and_files_after_a_failure_are_not_tried(tmp_path, start_mirror):
    empty, corrupt = start_mirror(), start_mirror()
    corrupt.files["a.gz"] = b"nonsense"
    with pytest.raises(UserError) as caught:
        fetch({**MD5, "b.gz": f"md5:{'0' * 32}"}, [empty.url, corrupt.url], tmp_path)
    text = str(caught.value)
    assert f"{empty.url} answered 404; {corrupt.url} sent a file with a wrong checksum" in text
    assert "Missing: a.gz, b.gz" in text
    assert empty.asked == ["a.gz"]


def test_a_blob_has_the_id_that_git_gives_it(tmp_path):
    """As ``printf 'hello world\\n' | git hash-object --stdin`` says, and of nothing."""
    for content, blob in (
        (b"hello world\n", "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"),
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
    ):
        (tmp_path / "file").write_bytes(content)
        assert git_blob_id(tmp_path / "file") == blob


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file/raw cannot be made .* Set data.root"):
        fetch(MD5, [], tmp_path / "file" / "raw")

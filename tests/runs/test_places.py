"""Where the data of a run are found again."""

from pathlib import Path

import pytest

from vaelab.errors import UserError
from vaelab.runs.places import outputs_of, with_data_found


def config(path: str) -> dict:
    return {"data": {"path": path, "source": {"path": path}, "batch_size": 2}}


@pytest.mark.parametrize("recorded", ["sub/mine.npz", "/far/away/sub/mine.npz"])
@pytest.mark.parametrize("place", ["started/sub", "here/sub", "p/outputs/runs/a", "p/outputs", "p"])
def test_data_are_found_from_here_where_the_run_began_or_beside_it(tmp_path, monkeypatch, recorded, place):
    folder, here = tmp_path / "p" / "outputs" / "runs" / "a", tmp_path / "here"
    folder.mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    file = tmp_path / place / "mine.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    record = {"directory": str(tmp_path / "started")}
    data = with_data_found(config(recorded), folder, record)["data"]
    if recorded.startswith("/") and place in (
        "started/sub",
        "here/sub",
    ):  # of an absolute path the name counts
        assert data == config(recorded)["data"]
        return
    assert Path(data["path"]).resolve() == file
    assert data["source"]["path"] == data["path"]
    assert data["batch_size"] == 2


def test_what_the_user_gives_is_taken(tmp_path):
    assert (
        with_data_found(config("a"), tmp_path, {}, {"path": "b", "root": None})["data"]["source"]["path"]
        == "b"
    )
    with pytest.raises(UserError, match=r"data\.root=b: the data of .* have no root"):
        with_data_found(config("a"), tmp_path, {}, {"root": "b"})


def test_data_that_are_nowhere_keep_their_path(tmp_path):
    assert with_data_found(config("a"), tmp_path, {"directory": None}) == config("a")


@pytest.mark.parametrize(
    ("folder", "outputs"),
    [
        ("/a/outputs/runs/x", "/a/outputs"),
        ("/a/outputs/sweeps/s/x", "/a/outputs"),
        ("/a/copy", "/a/copy"),
        ("/runs/x", "/"),
    ],
)
def test_the_outputs_of_a_run(folder, outputs):
    assert outputs_of(Path(folder)) == Path(outputs)

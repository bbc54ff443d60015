"""The latent explorer of the page: which runs, and what of their pictures is believed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sweeps_of_records import SAID, beta_sweep, explorer_picture, make_record, write_sweep

from vaelab.figures.style import EXPLORER
from vaelab.reports import compare_sweep, explorer
from vaelab.reports.explorer import explorers, read_explorer
from vaelab.reports.records import read_runs
from vaelab.reports.table import build_table
from vaelab.runs.record import write_record


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    """Five betas with pictures, and a finished run without."""
    folder = write_sweep(tmp_path_factory.mktemp("explorer"), *beta_sweep(seeds=1), pictures=True)
    write_record(folder / "05", make_record(16))
    return folder


def found(folder):
    return explorers(build_table(read_runs([folder]).runs))


def labels(folder) -> list[str]:
    return [each.label for each in found(folder).shown]


BETAS = [f"beta {beta}" for beta in ("0.25", "0.5", "1", "2", "8")]


def test_every_configuration_with_a_picture_has_an_explorer(sweep):
    assert labels(sweep) == BETAS
    assert "without an explorer: 1, whose" in found(sweep).caption
    assert "evenly spaced" not in found(sweep).caption


@pytest.mark.parametrize(("most", "expected"), [(3, BETAS[::2]), (2, BETAS[::4]), (1, BETAS[2:3])])
def test_of_many_configurations_evenly_spaced_ones_are_shown(sweep, monkeypatch, most, expected):
    monkeypatch.setattr(explorer, "MOST", most)
    assert labels(sweep) == expected
    assert f"{most} of 5 configurations are shown, evenly spaced" in found(sweep).caption


def test_as_many_as_the_page_has_room_for(sweep, monkeypatch):
    bytes_of_one = len(found(sweep).shown[0].uri)
    monkeypatch.setattr(explorer, "MOST_BYTES", 3 * bytes_of_one + 100)
    assert labels(sweep) == BETAS[::2]
    monkeypatch.setattr(explorer, "MOST_BYTES", bytes_of_one // 2)
    assert found(sweep) is None


def test_the_page_names_dimensions_kl_and_z(sweep):
    compare_sweep(sweep)
    page = (sweep / "report/report.html").read_text()
    assert page.count('<div class="explorer"') == 5
    assert page.count('type="range"') == 15
    for part in ("dim 7, KL 1.25 nats", "z = 0.50", 'data-values="-1.00 0.50 2.00"', "class 4"):
        assert part in page


def test_a_z_that_rounds_to_zero_has_no_sign():
    axis = explorer.Axis("dim 0", "KL 1.00 nats", [-1.5, -0.005, -0.004, 0.0, 2.0])
    assert axis.shown == ["-1.50", "-0.01", "0.00", "0.00", "2.00"]


def picture(said: object, size: tuple[int, int] | None = None) -> Image.Image:
    sheet = explorer_picture() if size is None else Image.new("L", size)
    sheet.info[EXPLORER] = said if isinstance(said, str) else json.dumps(said)
    return sheet


def test_a_picture_is_read():
    read = read_explorer(picture(SAID), "mine")
    assert [axis.values for axis in read.axes] == SAID["values"]
    assert (read.tile, read.zoom, read.place(), read.given) == ((8, 8), 20, (4, 1), 4)
    assert np.array_equal(np.asarray(read.picture.convert("L")), np.asarray(explorer_picture()))


@pytest.mark.parametrize(
    "said",
    [
        "", "{", "[1]", "[" * 9000, "9" * 20000,
        SAID | {"names": []},
        SAID | {"names": ["a", "b"]},
        SAID | {"names": ["a", "b", 3]},
        SAID | {"names": ["a", "b", "c" * 41]},
        SAID | {"use": [1, 2, None]},
        SAID | {"values": [[0, 1, 2], [0, 1, 2], [0, 1]]},
        SAID | {"values": [[0, 1, 2], [0, 1, 2], "012"]},
        SAID | {"values": [[0, 1, 2], [0, 1, 2], [0, 1, "x"]]},
        SAID | {"tile": [8, 9]},
        SAID | {"tile": [8]},
        SAID | {"tile": [0, 8]},
        SAID | {"label": "<script>"},
        SAID | {"label": -1},
    ],
)  # fmt: skip
def test_a_picture_that_says_something_else_is_no_explorer(said):
    with pytest.raises(ValueError):  # noqa: PT011 - any: all are caught alike
        read_explorer(picture(said), "")


def test_a_name_is_text(tmp_path):
    """A stranger's name of a dimension is shown as it is written."""
    folder = write_sweep(tmp_path, make_record(1), pictures=True)
    text = PngInfo()
    text.add_text(EXPLORER, json.dumps(SAID | {"names": ["<script>alert(1)</script>", '"x', "c"]}))
    explorer_picture().save(folder / "00/samples/explorer.png", pnginfo=text)
    compare_sweep(folder)
    page = (folder / "report/report.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, KL 1.25 nats" in page
    assert "<script>alert" not in page


def test_a_broken_picture_costs_the_page_nothing_else(tmp_path):
    folder = write_sweep(tmp_path, *beta_sweep(seeds=1), pictures=True)
    (folder / "00/samples/explorer.png").write_bytes(b"no picture")
    text = PngInfo()
    text.add_text(EXPLORER, json.dumps(SAID | {"tile": [4, 4]}))
    explorer_picture().save(folder / "01/samples/explorer.png", pnginfo=text)
    assert labels(folder) == BETAS[2:]

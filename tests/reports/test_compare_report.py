"""The report's files, and the command."""

import subprocess
import sys
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from compare_builders import add_pictures, beta_sweep, grid, make_record
from PIL import Image

from vaelab.cli.compare import main
from vaelab.errors import UserError
from vaelab.reports import compare_sweep
from vaelab.reports.plots import iso_levels, kl_heatmap, rate_distortion
from vaelab.reports.records import read_runs
from vaelab.reports.report import compare
from vaelab.reports.sheets import MAP_WIDTH, PADDING, contact_sheets, grid_rows
from vaelab.reports.table import build_table
from vaelab.runs.record import write_record

FIGURES = ("rate-distortion", "against-beta", "kl-per-dimension", "training-curves")
SHEETS = tuple(f"contact-{name}" for name in ("prior", "density", "reconstructions", "traversals", "maps"))
VOID = {"meta", "img", "br", "wbr", "link", "input", "hr", "base", "source"}


class Page(HTMLParser):
    """Checks that tags nest; keeps attributes that could name a resource, and the text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text += data


def test_a_sweep_gets_every_file(sweep):
    folder = sweep(*beta_sweep(), pictures=True, history=True)
    text = compare_sweep(folder)
    report = folder / "report"
    assert "The best ELBO is" in text
    assert text.endswith(f"Report: {report / 'report.html'}")
    names = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")} | {
        f"{name}.png" for name in SHEETS
    }
    assert {path.name for path in report.iterdir()} == names | {"table.csv", "report.md", "report.html"}
    for path in report.glob("*.png"):
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 5
    markdown = (report / "report.md").read_text()
    assert all(f"]({name}.png)" in markdown for name in (*FIGURES, *SHEETS))
    assert "| 0.25 | 2 | 14." in markdown


def test_the_page_is_whole_and_names_nothing_outside(sweep):
    folder = sweep(
        *beta_sweep(), make_record(3, status="failed", metrics={}, error="<b>bad</b> & worse"), pictures=True
    )
    compare_sweep(folder)
    source = (folder / "report" / "report.html").read_text()
    page = Page(source)
    assert "link" not in page.tags
    assert all(reference.startswith(("data:image/png;base64,", "#")) for reference in page.references)
    assert "default-src 'none'" in source
    assert "url(http" not in source
    assert source.count("* plotly.js v") == 1
    for number in ("-22.02", "±0.25", "4.01"):  # ELBO at beta 1, its interval 12.706 * 0.0283 / √2, the rate
        assert number in page.text
    assert "<b>bad</b> & worse" in page.text  # escaped in the source
    assert "model.objective.kl.weight" in page.text


def test_the_same_records_give_the_same_files(sweep):
    folder = sweep(*beta_sweep(), pictures=True)
    compare_sweep(folder)
    before = {path.name: path.read_bytes() for path in (folder / "report").iterdir()}
    compare_sweep(folder)
    assert {path.name: path.read_bytes() for path in (folder / "report").iterdir()} == before


@pytest.mark.parametrize(
    "records",
    [
        [make_record(1)],
        [make_record(None, rate=None, swept={})],
        [make_record(1, status="failed", metrics={}, config=None, error="no")],
        [make_record(1, status="running", metrics={})],
        [{"schema": 0}],
        [make_record(0), make_record(1)],
        [make_record(None, rate=None, swept={"model": "ae"}), make_record(1, swept={"model": "vae"})],
    ],
    ids=["one", "ae", "failed", "running", "old", "beta0", "mixed"],
)
@pytest.mark.parametrize("folded", [True, False])
def test_any_sweep_gets_a_report(sweep, records, folded):
    folder = sweep(*records)
    compare([folder], folded=folded)
    Page((folder / "report" / "report.html").read_text())
    assert len((folder / "report" / "table.csv").read_text().splitlines()) == len(records) + 1


def test_figures_of_an_earlier_report_go(sweep):
    folder = sweep(make_record(1), pictures=True)
    (folder / "report").mkdir()
    (folder / "report" / "training-curves.png").touch()
    (folder / "report" / "mine.txt").touch()
    compare_sweep(folder)
    assert not (folder / "report" / "training-curves.png").exists()
    assert (folder / "report" / "mine.txt").exists()


def test_a_report_that_fails_leaves_the_one_before_whole(sweep, monkeypatch):
    folder = sweep(make_record(1), make_record(2), pictures=True)
    compare_sweep(folder)
    before = {path.name: path.read_bytes() for path in (folder / "report").iterdir()}

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vaelab.reports.page.page", fail)
    with pytest.raises(UserError, match="No space left"):
        compare_sweep(folder)
    assert {path.name: path.read_bytes() for path in (folder / "report").iterdir()} == before


def test_a_resumed_run_is_read_like_any_other(sweep):
    sessions = [{"started": "2026-11-22T08:00:00+00:00", "ended": None}, {"started": "2026-11-22T09:00:00"}]
    text = compare_sweep(sweep(make_record(1), make_record(2, sessions=sessions)))
    assert "2 finished runs, 2 configurations" in text
    assert "sessions" not in text


def test_a_sweep_that_has_grown_is_one_table(sweep):
    """The old jobs keep their folders, so two jobs have the same number."""
    folder = sweep()
    for name, beta in (("00-beta2", 2), ("01-beta4", 4), ("00-beta1", 1), ("03-beta8", 8)):
        write_record(folder / name, make_record(beta))
    table = build_table(read_runs([folder]).runs)
    assert [row.beta for row in table.rows] == [1, 2, 4, 8]


def test_an_autoencoder_is_not_on_the_curve(sweep):
    runs = read_runs([sweep(make_record(None, rate=None), make_record(1), make_record(2, rate=2.0))]).runs
    figure = rate_distortion(build_table(runs))
    assert [len(line.get_xdata()) for line in figure.axes[0].lines if line.get_marker() == "o"] == [2]


def test_iso_elbo_lines_are_round_and_cross_the_picture():
    levels = iso_levels((0, 16), (16, 28))
    assert levels == [-40, -35, -30, -25, -20]


def test_the_heat_map_is_sorted_within_each_run_then_averaged(sweep):
    one, two = make_record(1, 0), make_record(1, 1)
    one["metrics"]["test/kl_per_dim"] = [0.0, 4.0, 1.0]
    two["metrics"]["test/kl_per_dim"] = [3.0, 0.0, 2.0]
    figure = kl_heatmap(build_table(read_runs([sweep(one, two)]).runs))
    assert figure.axes[0].collections[0].get_array().tolist() == [[3.5, 1.5, 0.0]]


def test_rows_of_a_grid_are_found_whatever_its_size():
    for size, rows in ((12, 8), (48, 4), (64, 1)):
        strips = grid_rows(grid(rows, 8, 40, size).convert("RGB"))
        assert [strip.size for strip in strips] == [(8 * (size + 2) + 2, size)] * rows


def test_contact_sheets_show_originals_once_and_a_row_for_each_configuration(sweep):
    folder = sweep(make_record(1), make_record(2), make_record(4))
    for i, name in enumerate(("00", "01")):
        add_pictures(folder / name, shade=20 + 80 * i)
    prior, density, reconstructions, traversals, maps = contact_sheets(build_table(read_runs([folder]).runs))
    assert [label for label, _ in prior.strips] == ["beta 1", "beta 2"]
    assert [label for label, _ in reconstructions.strips] == ["originals", "beta 1", "beta 2"]
    means = [np.asarray(strip).mean() for _, strip in prior.strips]
    assert means[1] - means[0] > 40
    assert traversals.strips[0][1].width > 2 * (9 * 14)
    assert [label for label, _ in density.strips] == ["beta 1", "beta 2"]
    assert [strip.height for _, strip in density.strips] == [12, 12]
    assert density.strips[0][1].width > 2 * (8 * 14)
    [(_, strip)] = maps.strips  # both beside each other
    assert strip.width == 2 * (MAP_WIDTH + PADDING)


def test_maps_stand_three_to_a_strip(sweep):
    folder = sweep(*(make_record(beta) for beta in (1, 2, 3, 4)))
    for i in range(4):
        add_pictures(folder / f"0{i}", shade=60 * i)
    *_, maps = contact_sheets(build_table(read_runs([folder]).runs))
    first, second = (strip for _, strip in maps.strips)
    assert (first.width, second.width) == (3 * (MAP_WIDTH + PADDING), MAP_WIDTH + PADDING)
    tiles = [np.asarray(first.crop((i * 426, 60, i * 426 + 420, 300))).mean() for i in range(3)]
    assert tiles == sorted(tiles)
    assert tiles[2] - tiles[0] > 80
    assert (np.asarray(second.convert("L"))[:27] < 100).any()  # its label


def test_several_sweeps_in_one_report(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = sweep(make_record(1), name="one"), sweep(make_record(2), name="two")
    compare([one, two])
    assert "one, two" in (tmp_path / "report" / "report.html").read_text()[:2000]


def run_command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["vaelab-compare", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return stop.code, *capsys.readouterr()
    return 0, *capsys.readouterr()


def test_the_command_takes_the_newest_sweep(sweep, tmp_path, monkeypatch, capsys):
    folder = sweep(*beta_sweep(), name="outputs/sweeps/mine")
    code, out, _ = run_command(
        monkeypatch, capsys, f"paths.outputs={tmp_path / 'outputs'}", "--no-fold", "--split", "val"
    )
    assert code == 0
    assert "numbers are of validation images" in out
    assert (folder / "report" / "report.html").is_file()


def test_mistakes_are_two_lines_and_exit_code_2(sweep, tmp_path, monkeypatch, capsys):
    sweep(make_record(1), name="sweeps/mine")
    broken = sweep(make_record(1), name="broken")
    (broken / "00" / "results.json").write_text("{")
    (tmp_path / "file").touch()
    for arguments in (
        ["nowhere"],
        [tmp_path / "file"],
        [broken],
        ["mine", "--out", tmp_path / "file"],
    ):
        code, out, err = run_command(monkeypatch, capsys, *arguments, f"paths.outputs={tmp_path}")
        assert (code, out) == (2, "")
        assert err.startswith("vaelab-compare: ")
        assert len(err.splitlines()) <= 2


def test_importing_is_light():
    code = (
        "import sys, vaelab.cli.compare, vaelab.reports.page, vaelab.reports.sheets; "
        "heavy = 'torch', 'pytorch_lightning', 'wandb', 'plotly', 'pandas', 'scipy'; "
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_state_of_matplotlib_is_changed(sweep):
    before = dict(matplotlib.rcParams)
    compare_sweep(sweep(*beta_sweep()))
    assert dict(matplotlib.rcParams) == before


def test_names_with_marks_of_other_languages_stay_text(sweep):
    records = [make_record(b, swept={"model.beta": b, "data.path": f"<i>$a_{b}^$ & |b|.npz"}) for b in (1, 2)]
    folder = sweep(*records, pictures=True)
    compare_sweep(folder)
    page = Page((folder / "report" / "report.html").read_text())
    assert "i" not in page.tags
    assert "<i>$a_1^$ & |b|.npz" in page.text
    assert "<i>" not in (folder / "report" / "rate-distortion.svg").read_text()


def test_many_betas_and_zero(sweep):
    folder = sweep(*(make_record(beta) for beta in (0, *(0.1 * 1.5**k for k in range(14)))))
    compare_sweep(folder)
    assert "mathdefault" not in (folder / "report" / "against-beta.svg").read_text()

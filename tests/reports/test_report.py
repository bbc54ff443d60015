"""The report's files, and the command."""

import html
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image
from sweeps_of_records import beta_sweep, make_record, write_sweep

from vaelab.cli.compare import main
from vaelab.errors import UserError
from vaelab.reports import compare_sweep
from vaelab.reports.report import compare

FIGURES = ("rate-distortion", "against-beta", "kl-per-dimension", "training-curves")
SHEETS = tuple(f"contact-{name}" for name in ("prior", "mixture", "reconstructions", "traversals", "maps"))
MARKED = "<i>$a_1^$ & |b|.npz"


def visible_text(page):
    """The text of a page whose tags nest."""
    body = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)
    opened = []
    for closing, name in re.findall(r"<(/?)([a-z][a-z0-9]*)\b[^>]*?(?<!/)>", body):
        if closing:
            assert opened.pop() == name
        elif name not in ("meta", "img", "br", "input"):
            opened.append(name)
    assert opened == []
    return html.unescape(re.sub(r"<[^>]+>", "", body))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep with two seeds of five betas, a name full of marks, and a run that failed."""
    folder = tmp_path_factory.mktemp("report") / "sweep"
    marked = make_record(1, swept={"data.path": MARKED}, dataset="mine")
    failed = make_record(3, status="failed", metrics={}, error="<b>bad</b> & worse")
    return write_sweep(folder, *beta_sweep(), marked, failed, pictures=True)


@pytest.fixture(scope="module")
def printed(sweep):
    """What the comparison of the sweep printed, after writing its report."""
    before = dict(matplotlib.rcParams)
    text = compare_sweep(sweep)
    assert dict(matplotlib.rcParams) == before
    return text


@pytest.fixture
def report(sweep, printed):
    return sweep / "report"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_sweep_gets_every_file(report, printed):
    assert "The best by validation ELBO is" in printed
    assert printed.endswith(f"Report: {report / 'report.html'}")
    names = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    names |= {f"{name}.png" for name in SHEETS}
    assert set(contents(report)) == names | {"table.csv", "report.md", "report.html"}
    for path in report.glob("*.png"):
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 5


def test_markdown_has_the_pictures_and_tables_whose_columns_hold(report):
    lines = (report / "report.md").read_text().splitlines()
    assert [f"]({name}.png)" in "".join(lines) for name in (*FIGURES, *SHEETS)] == [True] * 9
    header = next(i for i, line in enumerate(lines) if line.startswith("| data | beta |"))
    table = lines[header : lines.index("", header)]
    assert len(table) == 2 + 7
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "| digits | 0.25 |  | 2 | healthy | 14.01 ±0.13 |" in table[2]


def test_page_is_whole_and_names_nothing_outside(report):
    source = (report / "report.html").read_text()
    text = visible_text(source)
    for reference in re.findall(r'\b(?:src|href|srcset|data)="([^"]*)"', source):
        assert reference.startswith(("data:image/png;base64,", "#"))
    assert "default-src 'none'" in source
    assert "url(http" not in source
    assert len(source) < 1_000_000
    # the ELBO at beta 1 with its interval, 12.706 * 0.04 / 2, in a tooltip; names are escaped in the source
    for part in ("ELBO -22.02 ±0.25\n", "model.objective.kl.weight", "<b>bad</b> & worse", MARKED):
        assert part in text
    assert source.count('class="point"') == 6
    assert "&lt;i&gt;$a_1^$ &amp; |b|.npz" in (report / "rate-distortion.svg").read_text()


def test_the_same_records_give_the_same_files(sweep, report, tmp_path):
    compare([sweep], out=tmp_path)
    assert contents(tmp_path) == contents(report)


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
def test_any_sweep_gets_a_report_which_leaves_no_figures_of_the_one_before(tmp_path, records):
    folder = write_sweep(tmp_path, *records)
    (folder / "report").mkdir()
    (folder / "report" / "training-curves.png").touch()
    (folder / "report" / "mine.txt").touch()
    compare([folder])
    visible_text((folder / "report" / "report.html").read_text())
    assert len((folder / "report" / "table.csv").read_text().splitlines()) == len(records) + 1
    assert not (folder / "report" / "training-curves.png").exists()
    assert (folder / "report" / "mine.txt").exists()


def test_a_report_that_fails_leaves_the_one_before_whole(sweep, report, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    before = contents(report)
    monkeypatch.setattr("vaelab.reports.report.render", fail)
    with pytest.raises(UserError, match="No space left"):
        compare_sweep(sweep)
    assert contents(report) == before


@pytest.fixture
def command(monkeypatch, capsys):
    """``vaelab-compare`` with these arguments: its exit code and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vaelab-compare", *map(str, arguments)])
        try:
            main()
        except SystemExit as stop:
            return stop.code, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return run


def test_the_command_takes_the_newest_sweep_or_several(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    folder = write_sweep(tmp_path / "outputs/sweeps/mine", make_record(1))
    code, out, _ = command("--no-fold", "--split", "val")
    assert code == 0
    assert "numbers are of validation images" in out
    assert (folder / "report" / "report.html").is_file()
    command("mine", write_sweep(tmp_path / "other", make_record(2)))
    assert "<h1>mine, other</h1>" in (tmp_path / "report" / "report.html").read_text()


def test_mistakes_are_two_lines_and_exit_code_2(tmp_path, command):
    write_sweep(tmp_path / "sweeps/mine", make_record(1))
    broken = write_sweep(tmp_path / "broken", make_record(1))
    (broken / "00" / "results.json").write_text("{")
    file = tmp_path / "file"
    file.touch()
    for arguments in (["nowhere"], [file], [broken], ["mine", "--out", file]):
        code, out, err = command(*arguments, f"paths.outputs={tmp_path}")
        assert (code, out) == (2, "")
        assert err.startswith("vaelab-compare: ")
        assert len(err.splitlines()) <= 2


def test_importing_is_light():
    code = (
        "import sys, vaelab.cli.compare, vaelab.cli.dashboard, vaelab.reports.report; "
        "heavy = 'torch', 'pytorch_lightning', 'wandb', 'pandas', 'scipy', 'matplotlib', 'jinja2'; "
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

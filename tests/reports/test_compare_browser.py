"""report.html in a browser: drawn, sorted, themed, and nothing asked of the network.

The page stands in a frame, since headless Chromium's window is never narrower than 500 pixels: the width of
the frame is what the page's media queries see.
"""

import html
import json
import re
import shutil
import subprocess

import pytest
from compare_builders import beta_sweep, make_record

from vaelab.reports import compare_sweep

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs Chromium")]

WATCH = """<script>
window.seen = [];
addEventListener("error", (event) => seen.push("error: " + event.message));
document.addEventListener("securitypolicyviolation", (event) => seen.push("blocked: " + event.blockedURI));
</script>"""

FRAME = """<!DOCTYPE html><body style="margin:0"><pre id="answer"></pre>
<iframe src="driven.html" style="width:{width}px;height:900px;border:0"></iframe><script>
addEventListener("message", (event) => document.getElementById("answer").textContent = event.data);
</script></body>"""

DRIVE = """<script>
addEventListener("load", () => setTimeout(async () => {
  const rows = () => [...document.querySelectorAll("#runs tbody tr")];
  const column = (n) => rows().map((row) => row.cells[n].textContent);
  const headings = [...document.querySelectorAll("#runs thead th")];
  const names = headings.map((heading) => heading.textContent);
  const elbo = names.indexOf("ELBO");
  const answer = { names, before: column(0) };
  const button = headings[elbo].querySelector("button");
  button.click();
  answer.up = column(elbo);
  answer.upSort = headings.map((heading) => heading.getAttribute("aria-sort"));
  button.click();
  answer.down = column(elbo);
  headings[0].querySelector("button").click();
  answer.model = column(0);
  answer.points = document.querySelectorAll("#plot .scatterlayer .point").length;
  answer.labels = [...document.querySelectorAll("#plot .textpoint")].map((text) => text.textContent);
  Plotly.Fx.hover("plot", [{ curveNumber: document.querySelector("#plot").data.length - 1, pointNumber: 2 }]);
  await new Promise((done) => setTimeout(done, 500));
  answer.hover = document.querySelector("#plot .hoverlayer").textContent;
  answer.paper = getComputedStyle(document.body).backgroundColor;
  answer.static = getComputedStyle(document.querySelector(".static")).display;
  answer.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  answer.images = [...document.images].every((image) => image.complete && image.naturalWidth > 0);
  answer.resources = performance.getEntriesByType("resource").map((entry) => entry.name.slice(0, 40));
  answer.width = innerWidth;
  answer.seen = seen;
  parent.postMessage(JSON.stringify(answer), "*");
}, 300));
</script>"""


def ask(page, dark=False, width=1280):
    """Load the page at this width with two scripts of ours around its own, and return what they found."""
    source = page.read_text(encoding="utf-8")
    driven = page.with_name("driven.html")
    start, end = source.index("<title>"), source.rindex("</body>")
    driven.write_text(source[:start] + WATCH + source[start:end] + DRIVE + source[end:], encoding="utf-8")
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.format(width=width), encoding="utf-8")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=10000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--window-size={max(width, 800)},1000",
        f"--user-data-dir={page.parent / 'profile'}", frame.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return json.loads(html.unescape(re.search(r'<pre id="answer">(.*?)</pre>', dom, re.DOTALL)[1]))


@pytest.fixture
def page(sweep):
    records = [{**record, "swept": {"model": "beta_vae", **record["swept"]}} for record in beta_sweep()]
    ae = make_record(None, rate=None, swept={"model": "ae", "seed": 0})
    folder = sweep(*records, ae, pictures=True, history=True)
    compare_sweep(folder)
    return folder / "report" / "report.html"


def test_the_page_works(page):
    answer = ask(page)
    assert answer["seen"] == []
    assert [name for name in answer["resources"] if not name.startswith("data:")] == []
    assert answer["points"] == 5
    assert [text for text in answer["labels"] if text] == ["β 0.25", "β 0.5", "β 1", "β 2", "β 8"]
    assert "beta_vae, beta 1" in answer["hover"]
    assert "-22.0" in answer["hover"]
    assert answer["static"] == "none"
    assert answer["images"]
    assert answer["wide"] == 0
    assert answer["paper"] == "rgb(254, 254, 254)"

    numbers = [float(cell.split()[0]) for cell in answer["up"][:-1]]
    assert numbers == sorted(numbers)
    assert answer["up"][-1] == ""  # the autoencoder's, last whatever the direction
    assert answer["down"] == [*answer["up"][-2::-1], ""]
    assert answer["upSort"].count("ascending") == 1
    assert answer["upSort"][answer["names"].index("ELBO")] == "ascending"
    assert answer["model"] == ["ae"] + ["beta_vae"] * 5


def test_dark_and_as_narrow_as_a_phone(page):
    answer = ask(page, dark=True, width=390)
    assert answer["width"] == 390
    assert answer["seen"] == []
    assert answer["paper"] == "rgb(18, 22, 28)"
    assert answer["points"] == 5
    assert answer["wide"] == 0

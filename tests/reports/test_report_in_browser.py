"""report.html in a browser: sorted, themed, with tooltips and sliders, and nothing asked of the network."""

import html
import json
import re
import shutil
import subprocess

import pytest
from sweeps_of_records import beta_sweep, make_record, write_sweep

from vaelab.reports import compare_sweep

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs Chromium")]

WATCH = """<script>
window.seen = [];
addEventListener("error", (event) => seen.push("error: " + event.message));
document.addEventListener("securitypolicyviolation", (event) => seen.push("blocked: " + event.blockedURI));
</script>"""

DRIVE = r"""<script>
addEventListener("load", () => setTimeout(() => {
  const rows = () => [...document.querySelectorAll("#runs tbody tr")];
  const column = (n) => rows().map((row) => row.cells[n].textContent);
  const headings = [...document.querySelectorAll("#runs thead th")];
  const elbo = headings.findIndex((heading) => heading.textContent === "ELBO");
  const button = headings[elbo].querySelector("button");
  const answer = {};
  button.click();
  answer.up = column(elbo);
  answer.sorted = headings.filter((heading) => heading.getAttribute("aria-sort") === "ascending").length;
  button.click();
  answer.down = column(elbo);
  headings[0].querySelector("button").click();
  answer.model = column(0);
  const points = document.querySelectorAll("svg .point");
  answer.points = points.length;
  points[2].dispatchEvent(new PointerEvent("pointerenter"));
  const tip = document.getElementById("tip");
  answer.tip = tip.textContent;
  answer.tipIsVisible = tip.offsetWidth > 0;
  points[2].dispatchEvent(new PointerEvent("pointerleave"));
  answer.tipIsGone = tip.offsetWidth === 0;
  const light = (colour) => colour.match(/\d+/g).map(Number).reduce((a, b) => a + b);
  answer.paper = light(getComputedStyle(document.body).backgroundColor);
  answer.ink = light(getComputedStyle(document.querySelector("svg text")).fill);
  answer.tooWide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const map = getComputedStyle(document.querySelector("#contact-maps img"));
  answer.map = [map.filter !== "none", map.mixBlendMode];
  if (innerWidth < 640) document.body.style.width = "400px";  // a window is at least 500 wide
  const right = (element) => element.getBoundingClientRect().right;
  const wide = (element) => right(element) > right(document.body);
  const parts = document.querySelectorAll("svg.figure, .sheet img, .scroll, nav, .explorer");
  answer.cut = [...parts].filter(wide).length;
  const explorer = document.querySelectorAll(".explorer")[1];
  const sliders = [...explorer.querySelectorAll("input")];
  const shown = () => getComputedStyle(explorer.querySelector(".tile")).backgroundPosition;
  answer.tiles = [shown()];
  const moves = [[0, "stepUp"], [1, "stepDown"], [2, "stepUp"], [2, "stepUp"]];
  for (const [axis, step] of moves) {
    sliders[axis][step]();
    sliders[axis].dispatchEvent(new Event("input"));
    answer.tiles.push(shown());
  }
  answer.z = [...explorer.querySelectorAll("output")].map((output) => output.textContent);
  answer.spoken = sliders.map((slider) => slider.getAttribute("aria-valuetext"));
  answer.named = sliders.map((slider) => slider.labels[0].textContent);
  answer.focusable = sliders.every((slider) => { slider.focus(); return document.activeElement === slider; });
  const links = [...document.querySelectorAll("nav a")];
  const target = (link) => document.querySelector(link.hash);
  answer.links = links.map((link) => target(link)?.textContent.includes(link.textContent));
  const verdict = headings.findIndex((heading) => heading.textContent === "verdict");
  answer.verdict = wide(headings[verdict]);
  answer.images = [...document.images].every((image) => image.complete && image.naturalWidth > 0);
  const resources = performance.getEntriesByType("resource");
  answer.resources = resources.filter((entry) => !entry.name.startsWith("data:"));
  answer.width = innerWidth;
  answer.seen = seen;
  document.body.insertAdjacentHTML("beforeend", "<pre id=answer></pre>");
  document.getElementById("answer").textContent = JSON.stringify(answer);
}, 100));
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    records = [{**record, "swept": {"model": "beta_vae", **record["swept"]}} for record in beta_sweep()]
    ae = make_record(None, rate=None, swept={"model": "ae", "seed": 0})
    folder = write_sweep(tmp_path_factory.mktemp("browser"), *records, ae, pictures=True)
    compare_sweep(folder)
    return folder / "report" / "report.html"


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 500)], ids=["light", "dark and narrow"])
def test_the_page_works(page, tmp_path, dark, width):
    source = page.read_text(encoding="utf-8")
    start, end = source.index("<title>"), source.rindex("</body>")
    driven = tmp_path / "driven.html"
    driven.write_text(source[:start] + WATCH + source[start:end] + DRIVE + source[end:])
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=10000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--window-size={width},1000",
        f"--user-data-dir={tmp_path / 'profile'}", driven.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    answer = json.loads(html.unescape(re.search(r'<pre id="answer">(.*?)</pre>', dom, re.DOTALL)[1]))

    assert answer["seen"] == answer["resources"] == []
    assert answer["width"] == width
    assert (answer["paper"] < answer["ink"]) == dark  # sums of red, green and blue
    assert answer["tooWide"] == answer["cut"] == 0
    assert answer["map"] == [dark, "screen" if dark else "normal"]  # no white box on a dark page
    assert len(answer["links"]) == 14
    assert all(answer["links"])
    # the middle of 9 x 3 tiles of 8 + 1 pixels, magnified 20 times; then a tile right, one up, a block right
    assert answer["tiles"] == ["-740px -200px", "-920px -200px", "-920px -20px", *["-1460px -20px"] * 2]
    assert answer["z"] == answer["spoken"] == ["z = 2.00", "z = -2.00", "z = 3.00"]
    assert answer["named"] == [f"dim {d}, KL {kl} nats" for d, kl in ((7, 1.25), (0, 0.75), (3, 0.01))]
    assert answer["focusable"]
    assert not answer["verdict"]
    assert answer["images"]
    numbers = [float(cell.split()[0]) for cell in answer["up"][:-1]]
    assert numbers == sorted(numbers)
    assert answer["up"][-1] == ""  # the autoencoder's, last whatever the direction
    assert answer["down"] == [*answer["up"][-2::-1], ""]
    assert answer["sorted"] == 1
    assert answer["model"] == ["ae"] + ["beta_vae"] * 5
    assert answer["points"] == 5
    assert answer["tip"].startswith("beta_vae, beta 1\nrate 4.01 ±0.13\n")
    assert answer["tipIsVisible"]
    assert answer["tipIsGone"]

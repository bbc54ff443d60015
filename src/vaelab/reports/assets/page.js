"use strict";

// The table: each heading becomes a button that sorts, first upwards, then downwards. Blank cells stay last.
for (const table of document.querySelectorAll("table.runs")) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const valueOf = (row, column) => row.cells[column].dataset.value;
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [valueOf(a, column), valueOf(b, column)];
        if (x === "" || y === "") return (x === "") - (y === "");
        return down ? compare(y, x) : compare(x, y);
      });
      body.append(...rows);
    });
  });
}

// The rate-distortion curve, in the colours of the page's theme; drawn anew when the theme changes.
const data = JSON.parse(document.getElementById("plot-data").textContent);
const plot = document.getElementById("plot");

function theme(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function error(halves, color) {
  return halves ? { type: "data", array: halves, thickness: 1.2, width: 3, color } : undefined;
}

function traces() {
  const [left, right] = data.x;
  const span = right - left;
  const ends = [left - 2 * span, right + 2 * span];
  const iso = data.iso.map(({ level }) => ({
    x: ends, y: ends.map((x) => -level - x), mode: "lines", hoverinfo: "skip", showlegend: false,
    line: { color: theme("--muted"), width: 1, dash: "dot" },
  }));
  const series = data.series.map((one) => ({
    x: one.x, y: one.y, name: one.name, text: one.text, customdata: one.hover,
    mode: one.line ? "lines+markers+text" : "markers+text", textposition: "top right", cliponaxis: false,
    textfont: { color: theme("--ink"), size: 11 },
    marker: { color: one.color, symbol: one.symbol, size: 9 }, line: { color: one.color, width: 2 },
    error_x: error(one.x_half, one.color), error_y: error(one.y_half, one.color),
    hovertemplate: "%{customdata}<extra></extra>",
  }));
  return [...iso, ...series];
}

function layout() {
  const narrow = plot.clientWidth < 560;
  const axis = (title, range) => ({
    title: { text: title, standoff: 8, font: { size: narrow ? 11 : 13 } }, range, zeroline: false, showgrid: false,
    linecolor: theme("--muted"), ticks: "outside", tickcolor: theme("--muted"), automargin: true,
  });
  const levels = data.iso.filter(({ at }) => at).map(({ level, at }) => ({
    x: at[0], y: at[1], text: (narrow ? "" : "ELBO ") + String(level).replace("-", "−"), showarrow: false,
    xanchor: "left", yanchor: "top", xshift: 4, font: { size: 10, color: theme("--soft") },
    bgcolor: theme("--paper"), borderpad: 1,
  }));
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: theme("--sans"), color: theme("--ink"), size: 12 },
    xaxis: axis(narrow ? "rate (nats per image)" : "rate: KL(q(z|x) ‖ p(z)), nats per image", data.x),
    yaxis: axis(narrow ? "distortion (nats per image)" : "distortion: −log p(x|z), nats per image", data.y),
    annotations: levels, hovermode: "closest", dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", margin: { l: 10, r: 20, t: 10, b: 10 },
    showlegend: data.series.length > 1,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hoverlabel: { bgcolor: theme("--shade"), bordercolor: theme("--muted"), font: { color: theme("--ink") }, align: "left" },
  };
}

if (data && plot && window.Plotly) {
  const settings = { responsive: true, displayModeBar: false };
  const draw = () => Plotly.react(plot, traces(), layout(), settings);
  plot.hidden = false;
  document.documentElement.classList.add("drawn");
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

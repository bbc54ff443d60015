"use strict";

// Tables: each heading becomes a button that sorts, first ascending, then descending. Blank cells stay last.
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

// Figures: a point's <title> becomes a box that appears at once, also by touch and by keyboard.
const tip = document.getElementById("tip");
for (const point of document.querySelectorAll("svg .point")) {
  const title = point.querySelector("title");
  const text = title.textContent;
  title.remove();
  point.setAttribute("tabindex", "0");
  point.setAttribute("aria-label", text);
  const show = () => {
    tip.textContent = text;
    tip.hidden = false;
    const { left, right, top } = point.getBoundingClientRect();
    const beside = right + tip.offsetWidth < innerWidth ? right : left - tip.offsetWidth;
    tip.style.left = `${scrollX + Math.max(0, beside)}px`;
    tip.style.top = `${scrollY + top}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const event of ["pointerenter", "focus"]) point.addEventListener(event, show);
  for (const event of ["pointerleave", "blur"]) point.addEventListener(event, hide);
}

// The latent explorer: sliders choose a tile. The first moves within a block, the second down, the third by blocks.
for (const explorer of document.querySelectorAll(".explorer")) {
  const sliders = [...explorer.querySelectorAll("input")];
  const tile = explorer.querySelector(".tile");
  const { zoom, width, height } = explorer.dataset;
  const show = () => {
    const [i, j = 0, k = 0] = sliders.map((slider) => {
      const z = `z = ${slider.dataset.values.split(" ")[slider.value]}`;
      slider.previousElementSibling.textContent = z;
      slider.setAttribute("aria-valuetext", z);
      return Number(slider.value);
    });
    const column = k * (Number(sliders[0].max) + 1) + i;
    const left = zoom * (1 + column * (Number(width) + 1));
    const top = zoom * (1 + j * (Number(height) + 1));
    tile.style.backgroundPosition = `-${left}px -${top}px`;
  };
  for (const slider of sliders) slider.addEventListener("input", show);
  show(); // a browser may keep the places of sliders when a page is loaded again
}

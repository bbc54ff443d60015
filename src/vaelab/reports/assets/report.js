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

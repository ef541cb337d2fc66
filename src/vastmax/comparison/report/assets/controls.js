"use strict";
// Event handlers: method chips, view buttons, table headings, resizing and printing.
function press(label, shown) {
  shown ? hidden.delete(label) : hidden.add(label);
  chips.find((chip) => chip.dataset.method === label).setAttribute("aria-pressed", String(shown));
}
function mark(label) {
  if (marked === label) return;
  marked = label;
  for (const figure of figures) {
    const methods = figure.element.data.map(({ meta }, index) => ({ meta, index })).filter(({ meta }) => meta);
    busy(Plotly.restyle(figure.element, { opacity: methods.map(({ meta }) => opacity(meta)) }, methods.map(({ index }) => index)).then(() => write(figure)));
  }
}
for (const chip of chips) {
  const label = chip.dataset.method;
  chip.addEventListener("click", () => { press(label, hidden.has(label)); redraw(); });
  if (coarse) continue;
  chip.addEventListener("mouseenter", () => mark(hidden.has(label) ? null : label));
  chip.addEventListener("mouseleave", () => mark(null));
}
for (const [id, shown] of [["all", true], ["none", false]]) {
  document.getElementById(id)?.addEventListener("click", () => { chips.forEach((chip) => press(chip.dataset.method, shown)); redraw(); });
}

for (const button of document.querySelectorAll(".views button")) {
  button.addEventListener("click", () => {
    const figure = figures.find((each) => each.name === button.dataset.figure);
    figure.view = Number(button.dataset.view);
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
    draw(figure);
  });
}

// --- sorting the tables ---
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const numeric = head.classList.contains("number");
    const rising = head.getAttribute("aria-sort") !== "ascending";
    for (const other of heads) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => (numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true }));
    // empty cells come last in both directions
    const rows = [...body.rows].sort((a, b) => (value(a) === "") - (value(b) === "") || (rising ? 1 : -1) * compare(value(a), value(b)));
    body.append(...rows);
  }));
}

// --- theme, resizing, printing ---
document.addEventListener("themechange", redraw);
addEventListener("beforeprint", () => { printing = true; paint("light"); });
addEventListener("afterprint", () => { printing = false; paint(); });
let lastWidth = innerWidth, waiting = 0;
addEventListener("resize", () => {
  if (innerWidth === lastWidth) return;
  lastWidth = innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(redraw, 120);
});

redraw();
for (const figure of figures) {
  // after zooming, place the labels again
  figure.element.on("plotly_relayout", (change) => {
    const keys = Object.keys(change);
    if (figure.writing || !keys.some((key) => key.includes("range"))) return;
    keys.some((key) => key.includes("autorange")) ? draw(figure) : busy(write(figure));
  });
  figure.element.on("plotly_doubleclick", () => { draw(figure); return false; });
}

"use strict";
// What can be pressed: methods, views, headings of the table, light and dark; the window's size, and paper.
const redraw = () => figures.forEach(draw);
const chips = new Map();
for (const { label } of data.methods.filter(({ label }) => figures.some((figure) => figure.views.some((view) => view.series.some((series) => series.method === label))))) {
  const chip = document.createElement("button");
  chip.type = "button";
  chip.dataset.method = label;
  chip.append(Object.assign(document.createElement("i"), { className: "swatch" }), label);
  chip.firstChild.dataset.method = label;
  chip.addEventListener("click", () => { hidden.has(label) ? hidden.delete(label) : hidden.add(label); press(); });
  chips.set(label, chip);
}
const bar = document.getElementById("chips");
if (bar) bar.append(...chips.values());
function press() {
  for (const [label, chip] of chips) chip.setAttribute("aria-pressed", String(!hidden.has(label)));
  redraw();
}
document.getElementById("all")?.addEventListener("click", () => { hidden.clear(); press(); });
document.getElementById("none")?.addEventListener("click", () => { chips.forEach((_, label) => hidden.add(label)); press(); });

function mark(label) {
  if (marked === label) return;
  marked = label;
  for (const figure of figures) {
    const traces = figure.element.data || [];
    const places = traces.map((trace, index) => (trace.meta === "method" ? index : -1)).filter((index) => index >= 0);
    const methods = figure.views[figure.view].series;
    const opacity = methods.map((series) => (marked && marked !== series.method ? 0.15 : 1));
    busy(Plotly.restyle(figure.element, { opacity }, places).then(() => write(figure)));
  }
}
if (!coarse) {
  for (const [label, chip] of chips) {
    chip.addEventListener("mouseenter", () => mark(hidden.has(label) ? null : label));
    chip.addEventListener("mouseleave", () => mark(null));
  }
}

for (const button of document.querySelectorAll(".views button")) {
  button.addEventListener("click", () => {
    const figure = figures.find((each) => each.name === button.dataset.figure);
    figure.view = Number(button.dataset.view);
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
    draw(figure);
  });
}

// --- the table ---
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const numeric = head.classList.contains("number");
    const rising = head.getAttribute("aria-sort") !== "ascending";
    for (const other of heads) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => (numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true }));
    // what is not known comes last in both directions
    const rows = [...body.rows].sort((a, b) => (value(a) === "") - (value(b) === "") || (rising ? 1 : -1) * compare(value(a), value(b)));
    body.append(...rows);
  }));
}

// --- light and dark, the window's size, paper ---
let chosen = null;
function paint(theme) {
  root.dataset.theme = theme || chosen || window.vastmaxTheme();
  paintSwatches();
  redraw();
}
document.getElementById("theme").addEventListener("click", () => {
  chosen = dark() ? "light" : "dark";
  try { localStorage.setItem("vastmax-theme", chosen); } catch { /* not kept, then */ }
  paint();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint());
addEventListener("beforeprint", () => { printing = true; paint("light"); });
addEventListener("afterprint", () => { printing = false; paint(); });
let lastWidth = innerWidth, waiting = 0;
addEventListener("resize", () => {
  if (innerWidth === lastWidth) return;
  lastWidth = innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(redraw, 120);
});

for (const [label, chip] of chips) chip.setAttribute("aria-pressed", String(!hidden.has(label)));
paint();
for (const figure of figures) {
  // after zooming: other ticks, and names where their points are now
  figure.element.on("plotly_relayout", (change) => {
    if (figure.writing || !Object.keys(change).some((key) => key.includes("range"))) return;
    const { xaxis, yaxis } = figure.element.layout;
    if (Object.keys(change).some((key) => key.includes("autorange"))) return draw(figure);
    figure.range = { x: [...xaxis.range], y: [...yaxis.range] };
    busy(Plotly.relayout(figure.element, frame(figure, figure.views[figure.view])).then(() => write(figure)));
  });
  figure.element.on("plotly_doubleclick", () => { draw(figure); return false; });
}

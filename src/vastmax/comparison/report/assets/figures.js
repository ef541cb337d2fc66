"use strict";
// Draw the figures from the page's data, in the theme's colours and the window's size, without hidden methods.
// Classic scripts share one global scope; they run in the order of the page: theme, figures, names, controls.
const coarse = matchMedia("(pointer: coarse)").matches;
const chips = [...document.querySelectorAll("#chips button")];
const main = document.querySelector("main");
const figures = JSON.parse(document.getElementById("data").textContent).map((figure) => ({ ...figure, element: document.getElementById(figure.name), view: 0 }));
const hidden = new Set();
let marked = null, printing = false, pending = 0;

function busy(work) {
  pending++;
  main.setAttribute("aria-busy", "true");
  return work.finally(() => { if (--pending === 0) main.setAttribute("aria-busy", "false"); });
}

// Replace colours such as "var(--ink)" by their values in the current theme, as plotly does not support CSS variables.
const themed = (view) => JSON.parse(JSON.stringify(view), (key, value) => (key === "color" ? value.replace(/^var\(--(.*)\)$/, (_, name) => token(name)) : value));
const opacity = (label) => (marked && marked !== label ? 0.15 : 1);

function draw(figure) {
  const { data, layout, caption } = themed(figure.views[figure.view]);
  // beforeprint fires before the paper width is known: use the narrower of A4 and Letter
  const [width, height] = printing ? [650, 360] : [figure.element.clientWidth, figure.element.clientHeight];
  figure.narrow = width < 620;
  for (const trace of data) {
    if (trace.meta) Object.assign(trace, { visible: !hidden.has(trace.meta), opacity: opacity(trace.meta) });
    // the line through the Pareto front skips hidden methods
    if (!trace.ids) continue;
    const shown = trace.ids.map((label) => !hidden.has(label));
    for (const key of ["x", "y", "ids"]) trace[key] = trace[key].filter((_, index) => shown[index]);
  }
  const margin = { t: 14, b: 52, ...(figure.narrow ? { t: 32, l: 50, r: 14 } : { l: 66, r: 186, ...layout.margin }) };
  // on a phone there is no room for a title beside the tick labels: put it above them
  if (figure.narrow) {
    layout.title = { text: layout.yaxis.title.text, x: 0.02, xanchor: "left", y: 1, yanchor: "top", yref: "container", pad: { t: 8 }, font: { size: 12, color: token("soft") } };
    layout.yaxis.title = { text: "" };
    // and rank ranges are rotated, which needs a larger margin
    if (layout.xaxis.type !== "log") margin.b = 88;
  }
  // an empty figure keeps its previous axes
  const kept = figure.element.layout && data.every((trace) => !trace.meta || !trace.visible);
  for (const key of ["xaxis", "yaxis"]) if (kept) layout[key].range = figure.element.layout[key].range;
  busy(Plotly.react(figure.element, data, { ...layout, width, height, margin, template: template(figure.narrow) }, {
    responsive: false, displaylogo: false, displayModeBar: coarse ? false : "hover",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]], toImageButtonOptions: { format: "svg", filename: figure.name },
  }).then(() => write(figure)));
  const [legend, note] = figure.element.nextElementSibling.children;
  note.textContent = caption;
  // a legend, in the order of the line ends, if these have no labels
  const last = ({ y }) => y.findLast((value) => value !== null);
  const lines = figure.narrow ? data.filter((trace) => trace.meta && trace.visible && trace.mode !== "markers") : [];
  legend.replaceChildren(...lines.sort((a, b) => last(b) - last(a)).map(({ meta }) => {
    const entry = document.createElement("span"), chip = chips.find((each) => each.dataset.method === meta);
    entry.append(chip.querySelector("svg").cloneNode(true), meta);
    return entry;
  }));
}
const redraw = () => figures.forEach(draw);

// The plotly template of all figures.
function template(narrow) {
  const soft = token("soft"), clear = "rgba(0,0,0,0)";
  const axis = {
    title: { standoff: 8, font: { size: 13, color: soft } }, tickfont: { color: soft }, gridcolor: token("grid"), linecolor: token("line"),
    zeroline: false, showline: true, fixedrange: coarse,
  };
  return {
    data: { scatter: [{ hovertemplate: "%{text}<extra></extra>", connectgaps: false }] },
    layout: {
      autosize: false, showlegend: false, hovermode: "closest", dragmode: coarse ? false : "zoom", paper_bgcolor: clear, plot_bgcolor: clear,
      font: { family: getComputedStyle(document.body).fontFamily, color: token("ink"), size: narrow ? 11 : 12 }, xaxis: axis, yaxis: axis,
      modebar: { bgcolor: clear, color: soft, activecolor: token("accent") },
      hoverlabel: { bgcolor: token("card"), bordercolor: token("line"), align: "left", font: { color: token("ink"), size: 13 } },
      shapedefaults: { layer: "below", line: { color: soft, width: 1, dash: "dash" }, label: { textposition: "start", font: { color: soft, size: 11.5 } } },
    },
  };
}

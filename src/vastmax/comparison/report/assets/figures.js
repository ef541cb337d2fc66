"use strict";
// The figures: traces and layouts of the page's data, in the theme's colours and the window's size, without the methods that are hidden.
// Classic scripts see each other's names, in the order of the page: theme, figures, names, controls.
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

// What is in the data as a colour "var(--ink)" is read from the theme, which may have changed; plotly knows no variables.
const themed = (view) => JSON.parse(JSON.stringify(view), (key, value) => (key === "color" ? value.replace(/^var\(--(.*)\)$/, (_, name) => token(name)) : value));
const opacity = (label) => (marked && marked !== label ? 0.15 : 1);

function draw(figure) {
  const { data, layout, caption } = themed(figure.views[figure.view]);
  // what prints is told of it before paper's width is known: the narrower of A4 and Letter, then
  const [width, height] = printing ? [650, 360] : [figure.element.clientWidth, figure.element.clientHeight];
  figure.narrow = width < 620;
  for (const trace of data) {
    if (trace.meta) Object.assign(trace, { visible: !hidden.has(trace.meta), opacity: opacity(trace.meta) });
    // the line through a front goes by those that are shown
    if (!trace.ids) continue;
    const shown = trace.ids.map((label) => !hidden.has(label));
    for (const key of ["x", "y", "ids"]) trace[key] = trace[key].filter((_, index) => shown[index]);
  }
  const margin = { t: 14, b: 52, ...(figure.narrow ? { t: 32, l: 50, r: 14 } : { l: 66, r: 186, ...layout.margin }) };
  // beside the numbers a phone has no room for what they are of: it stands above them
  if (figure.narrow) {
    layout.title = { text: layout.yaxis.title.text, x: 0.02, xanchor: "left", y: 1, yanchor: "top", yref: "container", pad: { t: 8 }, font: { size: 12, color: token("soft") } };
    layout.yaxis.title = { text: "" };
    // and ranges of ranks stand aslant
    if (layout.xaxis.type !== "log") margin.b = 88;
  }
  // an empty picture keeps the axes that it had
  const kept = figure.element.layout && data.every((trace) => !trace.meta || !trace.visible);
  for (const key of ["xaxis", "yaxis"]) if (kept) layout[key].range = figure.element.layout[key].range;
  busy(Plotly.react(figure.element, data, { ...layout, width, height, margin, template: template(figure.narrow) }, {
    responsive: false, displaylogo: false, displayModeBar: coarse ? false : "hover",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]], toImageButtonOptions: { format: "svg", filename: figure.name },
  }).then(() => write(figure)));
  const [legend, note] = figure.element.nextElementSibling.children;
  note.textContent = caption;
  // where lines have no names at their ends, in the order of these
  const last = ({ y }) => y.findLast((value) => value !== null);
  const lines = figure.narrow ? data.filter((trace) => trace.meta && trace.visible && trace.mode !== "markers") : [];
  legend.replaceChildren(...lines.sort((a, b) => last(b) - last(a)).map(({ meta }) => {
    const entry = document.createElement("span"), chip = chips.find((each) => each.dataset.method === meta);
    entry.append(chip.querySelector("svg").cloneNode(true), meta);
    return entry;
  }));
}
const redraw = () => figures.forEach(draw);

// What all figures have in common.
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

"use strict";
// Draws what the records say. All numbers and texts come from the element #data; here is only how they look.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const coarse = matchMedia("(pointer: coarse)").matches;
  const hidden = new Set();
  let marked = null, printing = false;
  const main = document.querySelector("main");
  let pending = 0;
  function busy(work) {
    pending++;
    main.setAttribute("aria-busy", "true");
    return work.finally(() => { if (--pending === 0) main.setAttribute("aria-busy", "false"); });
  }

  // --- colours: told apart by people who do not see red and green alike, and never by colour alone ---
  const COLOURS = {
    light: ["#0072B2", "#D55E00", "#00805E", "#B3478F", "#A87400", "#5A55C8"],
    dark: ["#56B4E9", "#FF8A3D", "#2CC69B", "#E58CC4", "#E3B23C", "#A8A4FF"],
  };
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x"];
  const SHAPES = {
    circle: "M7 2.5a4.5 4.5 0 1 0 .01 0z", square: "M3 3h8v8H3z", diamond: "M7 1.5L12.5 7 7 12.5 1.5 7z",
    "triangle-up": "M7 2l5.5 9.5h-11z", "triangle-down": "M7 12L1.5 2.5h11z",
    cross: "M5.3 2h3.4v3.3H12v3.4H8.7V12H5.3V8.7H2V5.3h3.3z",
    x: "M3.8 1.8L7 5l3.2-3.2 2 2L9 7l3.2 3.2-2 2L7 9l-3.2 3.2-2-2L5 7 1.8 3.8z",
    star: "M7 .8l1.8 4 4.4.5-3.3 3 .9 4.3L7 10.4l-3.8 2.2.9-4.3-3.3-3 4.4-.5z",
  };
  const styles = {};
  let next = 0;
  for (const { label, reference } of data.methods) {
    styles[label] = reference
      ? { colour: null, dash: "solid", symbol: "star", width: 3, size: 13 }
      : { colour: next % 6, dash: DASHES[Math.floor(next / 6) % 4], symbol: SYMBOLS[next++ % 7], width: 1.8, size: 10 };
  }
  const dark = () => root.dataset.theme === "dark";
  const token = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
  const colour = (label) => {
    const { colour } = styles[label];
    return colour === null ? token("ink") : COLOURS[dark() ? "dark" : "light"][colour];
  };
  // plotly reads a little HTML in its texts; labels are to be shown as they are
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  function paintSwatches() {
    for (const place of document.querySelectorAll("i.swatch")) {
      const style = styles[place.dataset.method];
      if (!style) continue;
      const size = place.closest(".chips") ? 12 : 14;
      place.innerHTML = `<svg viewBox="0 0 14 14" width="${size}" height="${size}" aria-hidden="true"><path d="${SHAPES[style.symbol]}" fill="${colour(place.dataset.method)}"/></svg>`;
    }
  }

  // --- numbers and axes ---
  const trim = (value) => Number(value.toPrecision(6)).toLocaleString("en-US", { maximumFractionDigits: 6 });
  const short = (value) => (value >= 1e6 ? trim(value / 1e6) + "M" : value >= 1e5 ? trim(value / 1e3) + "k" : trim(value));
  function span(value) {
    if (value < 60) return trim(value) + " s";
    if (value < 3600) return trim(value / 60) + " min";
    return value < 86400 ? trim(value / 3600) + " h" : trim(value / 86400) + " d";
  }
  const SECONDS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 57600, 86400, 172800, 345600, 864000];
  // Round values between low and high, no more than fit: whole decades where there are many, equal steps where few.
  function ticks(axis, low, high, most) {
    if (axis.names) return axis.names.map((_, index) => index);
    let found = [];
    if (axis.unit === "seconds") found = SECONDS.filter((value) => value >= low && value <= high);
    for (const steps of [[1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9], [1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
      if (axis.unit === "seconds") break;
      found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
        for (const step of steps) found.push(Number((step * 10 ** power).toPrecision(3)));
      }
      found = found.filter((value) => value >= low && value <= high);
      if (found.length <= most) break;
    }
    if (axis.unit !== "seconds" && (found.length < 4 || high / low < 3)) {
      const step = [1, 2, 2.5, 5, 10].map((each) => each * 10 ** Math.floor(Math.log10((high - low) / most))).find((each) => (high - low) / each <= most);
      found = [];
      for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
    }
    while (found.length > most) found = found.filter((_, index) => index % 2 === 0);
    return found;
  }
  const text = (axis, value) => (axis.names ? axis.names[value] : axis.unit === "seconds" ? span(value) : short(value));
  const place = (axis, value) => (axis.log ? Math.log10(value) : value);
  function extent(axis, values) {
    if (axis.names) return [-0.3, axis.names.length - 0.7];
    const inside = values.filter((value) => axis.limit === null || value <= axis.limit);
    const known = (inside.length ? inside : values).map((value) => place(axis, value));
    const low = Math.min(...known), high = Math.max(...known);
    const room = Math.max((high - low) * 0.07, axis.log ? 0.012 : 0.5);
    return [low - room, high + room];
  }

  // --- figures ---
  const figures = data.figures.map((figure) => ({ ...figure, element: document.getElementById(figure.name), view: 0 }));

  function draw(figure) {
    const view = figure.views[figure.view];
    const shown = view.series.filter((series) => !hidden.has(series.method));
    const values = (key) => shown.flatMap((series) => series[key]).filter((value) => value !== null);
    // where the way down begins above the picture, the picture begins where the first method comes into it
    const across = (all, { y }) => all.flatMap((series) => series.x.filter((x, index) => x !== null && (figure.style === "points" || y.limit === null || series.y[index] <= y.limit)));
    const extra = view.level && shown.length ? [view.level[0]] : [];
    figure.range = shown.length ? { x: extent(view.x, across(shown, view)), y: extent(view.y, [...values("y"), ...extra]) } : figure.range;
    const layout = frame(figure, view);
    busy(Plotly.react(figure.element, traces(figure, view), layout, {
      responsive: false, displaylogo: false, displayModeBar: coarse ? false : "hover",
      modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]], toImageButtonOptions: { format: "svg", filename: figure.name },
    }).then(() => write(figure)));
    caption(figure, view, shown);
  }

  function traces(figure, view) {
    const points = figure.style === "points", [low, high] = figure.range.y;
    const outside = (value) => points && view.y.limit !== null && value > view.y.limit;
    const height = (value) => (outside(value) ? 10 ** (high - 0.02 * (high - low)) : value);
    const drawn = view.series.map((series) => {
      const style = styles[series.method], colourOf = colour(series.method);
      return {
        type: "scatter", name: plain(series.method), mode: points ? "markers" : "lines+markers", visible: !hidden.has(series.method),
        x: series.x, y: series.y.map(height),
        text: series.notes.map((note, index) => `<b>${plain(series.method)}</b><br>${note}`), hovertemplate: "%{text}<extra></extra>",
        opacity: marked && marked !== series.method ? 0.15 : 1, cliponaxis: !points, connectgaps: false, meta: "method",
        line: { color: colourOf, width: series.y.includes(null) ? style.width * 0.65 : style.width, dash: style.dash },
        marker: { color: colourOf, size: points ? style.size : style.size * 0.55, symbol: outside(series.y[0]) ? "arrow-up" : style.symbol, line: { color: token("card"), width: points ? 1 : 0 } },
      };
    });
    const front = view.front.map((label) => view.series.find((series) => series.method === label)).filter((series) => !hidden.has(series.method));
    if (front.length > 1) {
      drawn.unshift({ type: "scatter", mode: "lines", hoverinfo: "skip", x: front.map((each) => each.x[0]), y: front.map((each) => height(each.y[0])), line: { color: token("accent"), width: 6, shape: "linear" }, opacity: 0.25, meta: "front" });
    }
    for (const guide of view.guides) {
      drawn.unshift({ type: "scatter", mode: "lines", hoverinfo: "skip", x: guide.map((each) => each[0]), y: guide.map((each) => each[1]), line: { color: token("soft"), width: 1, dash: "dot" }, opacity: 0.6, meta: "guide" });
    }
    return drawn;
  }

  function frame(figure, view) {
    // what prints is told of it before paper's width is known: the narrower of A4 and Letter, then
    const [width, height] = printing ? [650, 360] : [figure.element.clientWidth, figure.element.clientHeight];
    const narrow = width < 620;
    const margin = { l: narrow ? 44 : 62, r: narrow ? 10 : figure.style === "points" ? 30 : 186, t: 14, b: 52 };
    figure.size = { width, height, margin, narrow };
    const axis = (key, most) => {
      const each = view[key], range = figure.range[key];
      const ends = each.log ? range.map((value) => 10 ** value) : range;
      const marks = ticks(each, ends[0], ends[1], most);
      return {
        type: each.log ? "log" : "linear", range: [...range], tickmode: "array", tickvals: marks, ticktext: marks.map((value) => text(each, value)),
        title: { text: each.title, standoff: 8, font: { size: 13, color: token("soft") } }, tickfont: { size: narrow ? 11 : 12, color: token("soft") },
        gridcolor: token("grid"), linecolor: token("line"), zeroline: false, showline: true, fixedrange: coarse, minor: { ticks: "" },
      };
    };
    const level = view.level && {
      type: "line", xref: "paper", x0: 0, x1: 1, y0: view.level[0], y1: view.level[0], layer: "below", line: { color: token("soft"), width: 1, dash: "dash" },
    };
    return {
      width, height, margin, autosize: false, showlegend: false, hovermode: "closest", dragmode: coarse ? false : "zoom",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, color: token("ink"), size: 12.5 },
      hoverlabel: { bgcolor: token("card"), bordercolor: token("line"), align: "left", font: { color: token("ink"), size: 13 } },
      xaxis: axis("x", narrow ? 5 : 10), yaxis: axis("y", 9), shapes: level ? [level] : [], annotations: [],
    };
  }

  function caption(figure, view, shown) {
    const limit = view.y.limit;
    const off = limit === null ? [] : shown.filter((series) => series.y.every((value) => value === null || value > limit));
    const worst = off.map((series) => `${series.method} (${trim(Number(Math.min(...series.y.filter((value) => value !== null)).toPrecision(4)))})`);
    const sentences = [view.note, worst.length ? `Above the picture: ${worst.join(", ")}.` : "", figure.size && figure.size.narrow && shown.length > 1 ? "Tap a point for its name." : ""];
    figure.element.parentElement.querySelector("figcaption").textContent = sentences.filter(Boolean).join(" ");
  }

  // --- names beside points and lines ---
  const canvas = document.createElement("canvas").getContext("2d");
  function widthOf(label, size) {
    canvas.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
    return canvas.measureText(label).width;
  }
  function pixels(figure) {
    const { width, height, margin } = figure.size, { xaxis, yaxis } = figure.element.layout;
    const view = figure.views[figure.view];
    const across = (value) => margin.l + ((place(view.x, value) - xaxis.range[0]) / (xaxis.range[1] - xaxis.range[0])) * (width - margin.l - margin.r);
    const up = (value) => height - margin.b - ((place(view.y, value) - yaxis.range[0]) / (yaxis.range[1] - yaxis.range[0])) * (height - margin.t - margin.b);
    return { across, up };
  }
  const annotation = (label, more) => ({ text: plain(label), showarrow: false, font: { color: colour(label), size: 12 }, opacity: marked && marked !== label ? 0.15 : 1, captureevents: false, ...more });

  function write(figure) {
    const view = figure.views[figure.view];
    const drawn = figure.element.data.filter((trace) => trace.meta === "method" && trace.visible !== false);
    const annotations = figure.style === "points" ? besidePoints(figure, view, drawn) : figure.size.narrow ? [] : besideLines(figure, view, drawn);
    if (view.level && view.level[1]) {
      annotations.push({ text: view.level[1], xref: "paper", x: 0, xanchor: "left", yanchor: "bottom", y: place(view.y, view.level[0]), showarrow: false, font: { color: token("soft"), size: 11.5 } });
    }
    figure.writing = true;
    return Plotly.relayout(figure.element, { annotations }).then(() => { figure.writing = false; });
  }

  // The front's names first; each where it meets nothing that stands already, or else nowhere: pointing tells it.
  function besidePoints(figure, view, drawn) {
    const { across, up } = pixels(figure), { width, height, margin } = figure.size, size = figure.size.narrow ? 10.5 : 12;
    const label = (trace) => view.series[figure.element.data.filter((each) => each.meta === "method").indexOf(trace)].method;
    const all = drawn.map((trace) => ({ label: label(trace), x: across(trace.x[0]), y: up(trace.y[0]), trace }));
    const taken = all.map(({ x, y }) => [x - 6, y - 6, x + 6, y + 6]);
    const front = view.front.map((name) => all.find((each) => each.label === name)).filter(Boolean);
    for (let index = 1; index < front.length; index++) {
      const from = front[index - 1], to = front[index], steps = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / 8);
      for (let step = 0; step <= steps; step++) {
        const x = from.x + ((to.x - from.x) * step) / steps, y = from.y + ((to.y - from.y) * step) / steps;
        taken.push([x - 2, y - 2, x + 2, y + 2]);
      }
    }
    const order = (each) => (data.reference === each.label ? -1 : view.front.includes(each.label) ? 0 : 1);
    const found = [];
    for (const each of [...all].sort((a, b) => order(a) - order(b))) {
      const wide = widthOf(each.label, size) + 4, tall = size + 3;
      const boxes = [];
      for (const away of figure.size.narrow ? [9, 18, 30] : [9, 18, 30, 46, 64]) {
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, -1], [0, 1], [0.8, -0.8], [0.8, 0.8], [-0.8, -0.8], [-0.8, 0.8]]) {
          const left = each.x + dx * away - (dx > 0 ? 0 : dx < 0 ? wide : wide / 2), top = each.y + dy * away - (dy > 0 ? 0 : dy < 0 ? tall : tall / 2);
          boxes.push({ box: [left, top, left + wide, top + tall], away });
        }
      }
      const free = ({ box }) => box[0] > margin.l && box[2] < width - 2 && box[1] > 2 && box[3] < height - margin.b && !taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]);
      const spot = boxes.find(free);
      if (!spot) continue;
      taken.push(spot.box);
      const middle = [(spot.box[0] + spot.box[2]) / 2, (spot.box[1] + spot.box[3]) / 2];
      found.push(annotation(each.label, {
        x: place(view.x, each.trace.x[0]), y: place(view.y, each.trace.y[0]), ax: middle[0] - each.x, ay: middle[1] - each.y,
        showarrow: true, arrowhead: 0, arrowwidth: 0.7, arrowcolor: spot.away > 18 ? colour(each.label) : "rgba(0,0,0,0)", standoff: 4,
        font: { color: colour(each.label), size },
      }));
    }
    return found;
  }

  function besideLines(figure, view, drawn) {
    const { across, up } = pixels(figure), { width, height, margin } = figure.size;
    const methods = figure.element.data.filter((trace) => trace.meta === "method");
    const ends = drawn.map((trace) => {
      const series = view.series[methods.indexOf(trace)];
      let last = series.y.length - 1;
      while (last >= 0 && series.y[last] === null) last--;
      return last < 0 ? null : { label: series.method, x: series.x[last], y: series.y[last] };
    }).filter((end) => end && up(end.y) > margin.t - 4 && up(end.y) < height - margin.b + 4 && across(end.x) <= width - margin.r + 2);
    ends.sort((a, b) => up(a.y) - up(b.y));
    const apart = Math.min(15, (height - margin.t - margin.b + 20) / Math.max(1, ends.length));
    let lowest = -Infinity;
    for (const end of ends) end.at = lowest = Math.max(up(end.y), lowest + apart);
    let highest = height - margin.b + 6;
    for (const end of [...ends].reverse()) {
      end.at = highest = Math.min(end.at, highest);
      highest -= apart;
    }
    return ends.map((end) => annotation(end.label, {
      x: place(view.x, end.x), y: place(view.y, end.y), ax: width - margin.r + 14 - across(end.x), ay: end.at - up(end.y), xanchor: "left",
      showarrow: true, arrowhead: 0, arrowwidth: 0.7, arrowcolor: colour(end.label) + "70", standoff: 3,
    }));
  }

  // --- what can be switched ---
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
  let width = innerWidth, waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
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
})();

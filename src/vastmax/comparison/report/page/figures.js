"use strict";
// The records' pictures as plotly's: traces, axes, and a sentence below.
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
    modebar: { bgcolor: "rgba(0,0,0,0)", color: token("soft"), activecolor: token("accent") },
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

"use strict";
// Names beside points and at the ends of lines.
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

"use strict";
// Names beside points and at the ends of lines, written anew after each drawing and zooming.
const canvas = document.createElement("canvas").getContext("2d");
function widthOf(label, size) {
  canvas.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
  return canvas.measureText(label).width;
}
// Where plotly's annotations count from: logarithms on a logarithmic axis.
const place = (axis, value) => (axis.type === "log" ? Math.log10(value) : value);
const share = (axis, value) => (place(axis, value) - axis.range[0]) / (axis.range[1] - axis.range[0]);

function write(figure) {
  const { data, layout } = figure.element, { xaxis, yaxis, margin } = layout;
  const box = { left: margin.l, top: margin.t, right: layout.width - margin.r, bottom: layout.height - margin.b, width: layout.width };
  const pixel = (x, y) => ({ x: box.left + share(xaxis, x) * (box.right - box.left), y: box.bottom - share(yaxis, y) * (box.bottom - box.top) });
  const ends = data.filter((trace) => trace.meta && trace.visible).map((trace) => {
    const last = trace.y.findLastIndex((value) => value !== null);
    const colour = trace.marker.color, [x, y] = [trace.x[last], trace.y[last]];
    const name = { text: trace.name, x: place(xaxis, x), y: place(yaxis, y), showarrow: true, arrowhead: 0, arrowwidth: 0.7, opacity: opacity(trace.meta), font: { color: colour } };
    return { label: trace.meta, colour, name, ...pixel(x, y) };
  });
  const front = data.filter((trace) => trace.ids).flatMap((trace) => trace.x.map((x, index) => pixel(x, trace.y[index])));
  const points = data.some((trace) => trace.mode === "markers");
  const change = { annotations: points ? besidePoints(figure, box, ends, front) : figure.narrow ? [] : besideLines(box, ends) };
  for (const [key, axis] of [["xaxis", xaxis], ["yaxis", yaxis]]) {
    const decades = Math.abs(axis.range[1] - axis.range[0]);
    // names make no room for themselves; and of one decade or three, plotly marks every digit
    change[`${key}.range`] = [...axis.range];
    if (axis.type === "log" && !axis.tickvals) change[`${key}.dtick`] = decades > 1 && decades < 3 ? "D2" : null;
  }
  figure.writing = true;
  return Plotly.relayout(figure.element, change).then(() => { figure.writing = false; });
}

// Each where it meets nothing that stands already, or else nowhere: pointing tells it. The first get the best places.
function besidePoints({ narrow }, box, ends, front) {
  const size = narrow ? 10.5 : 12, found = [];
  const taken = ends.map(({ x, y }) => [x - 6, y - 6, x + 6, y + 6]);
  front.slice(1).forEach((to, index) => {
    const from = front[index], steps = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / 8);
    for (let step = 0; step <= steps; step++) {
      const x = from.x + ((to.x - from.x) * step) / steps, y = from.y + ((to.y - from.y) * step) / steps;
      taken.push([x - 2, y - 2, x + 2, y + 2]);
    }
  });
  const free = ([left, top, right, bottom]) => left > box.left && right < box.width - 2 && top > 2 && bottom < box.bottom &&
    !taken.some((other) => left < other[2] && other[0] < right && top < other[3] && other[1] < bottom);
  for (const end of ends) {
    const wide = widthOf(end.label, size) + 4, tall = size + 3;
    const spots = (narrow ? [9, 18, 30] : [9, 18, 30, 46, 64]).flatMap((away) =>
      [[1, 0], [-1, 0], [0, -1], [0, 1], [0.8, -0.8], [0.8, 0.8], [-0.8, -0.8], [-0.8, 0.8]].map(([dx, dy]) => {
        const ax = dx * away + (Math.sign(dx) * wide) / 2, ay = dy * away + (Math.sign(dy) * tall) / 2;
        return { away, ax, ay, spot: [end.x + ax - wide / 2, end.y + ay - tall / 2, end.x + ax + wide / 2, end.y + ay + tall / 2] };
      }));
    const best = spots.find(({ spot }) => free(spot));
    if (!best) continue;
    taken.push(best.spot);
    found.push({ ...end.name, ax: best.ax, ay: best.ay, standoff: 4, arrowcolor: best.away > 18 ? end.colour : "rgba(0,0,0,0)", font: { color: end.colour, size } });
  }
  return found;
}

// One below the other at the right, no two closer than a line of text.
function besideLines(box, ends) {
  const shown = ends.filter(({ x, y }) => y > box.top - 4 && y < box.bottom + 4 && x <= box.right + 2).sort((a, b) => a.y - b.y);
  const apart = Math.min(15, (box.bottom - box.top + 20) / Math.max(1, shown.length));
  let lowest = -Infinity, highest = box.bottom + 6;
  for (const end of shown) end.at = lowest = Math.max(end.y, lowest + apart);
  for (const end of [...shown].reverse()) {
    end.at = highest = Math.min(end.at, highest);
    highest -= apart;
  }
  return shown.map((end) => ({ ...end.name, xanchor: "left", ax: box.right + 14 - end.x, ay: end.at - end.y, standoff: 3, arrowcolor: end.colour + "70" }));
}

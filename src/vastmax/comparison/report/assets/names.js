"use strict";
// Labels beside points and at the ends of lines, placed again after each redraw and zoom.
const canvas = document.createElement("canvas").getContext("2d");
function widthOf(label, size) {
  canvas.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
  return canvas.measureText(label).width;
}
// Annotation coordinates in plotly: log10 of the value on a logarithmic axis.
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
  for (const [key, axis, length] of [["xaxis", xaxis, box.right - box.left], ["yaxis", yaxis, box.bottom - box.top]]) {
    // fix the range, so that labels do not extend it
    change[`${key}.range`] = [...axis.range];
    if (axis.type !== "log") continue;
    const times = figure.views[figure.view].layout[key].tickvals;
    Object.assign(change, Object.fromEntries(Object.entries(marks(axis.range, length / (key === "yaxis" ? 40 : figure.narrow ? 52 : 80), times)).map(([name, value]) => [`${key}.${name}`, value])));
  }
  figure.writing = true;
  return Plotly.relayout(figure.element, change).then(() => { figure.writing = false; });
}

// Place each label where it overlaps nothing, or leave it to the tooltip. The first labels get the best places.
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

// Stack the labels at the right, at least one line of text apart.
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

// The ticks of a logarithmic axis: as many round values as there is room for and at least three, even within a decade.
const ROUND = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7], [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9]];
function marks([from, to], room, times) {
  const low = 10 ** Math.min(from, to) * (1 - 1e-9), high = 10 ** Math.max(from, to) * (1 + 1e-9);
  const inside = (values) => values.filter((value) => value >= low && value <= high);
  const thin = (values) => values.filter((_, index) => index % Math.max(1, Math.ceil(values.length / room)) === 0);
  if (times) {
    const found = thin(inside(times));
    if (found.length >= 3) return { tickvals: found, ticktext: found.map(duration) };
  }
  // within a decade ticks are evenly spaced, for times in their unit
  const unit = times ? unitOf(low)[1] : 1;
  const decades = Array.from({ length: Math.ceil(Math.log10(high)) - Math.floor(Math.log10(low)) + 1 }, (_, index) => 10 ** (Math.floor(Math.log10(low)) + index));
  const sets = times ? [] : ROUND.map((digits) => inside(decades.flatMap((decade) => digits.map((digit) => digit * decade))));
  for (let power = Math.floor(Math.log10(high / unit)); power > Math.log10(high / unit) - 4; power--) {
    for (const step of [5, 2, 1].map((digit) => digit * 10 ** power * unit)) {
      const first = Math.ceil(low / step), count = Math.floor(high / step) - first + 1;
      if (count < 40) sets.push(Array.from({ length: Math.max(0, count) }, (_, index) => Number(((first + index) * step).toPrecision(12))));
    }
  }
  // the largest set that there is room for, or else the first with at least three ticks
  const apart = (values) => values.every((value, index) => index === 0 || (Math.log10(value / values[index - 1]) / Math.log10(high / low)) * room > 0.62);
  const fit = sets.filter((values) => values.length >= 3 && apart(values));
  const most = (found) => found.reduce((one, other) => (other.length > one.length ? other : one), []);
  const found = most(fit.filter((values) => values.length <= room));
  const best = found.length ? found : fit[0] ?? sets.find((values) => values.length >= 3) ?? [];
  return times ? { tickvals: best, ticktext: best.map(duration) } : { tickvals: best };
}
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const unitOf = (time) => UNITS.find(([, size]) => time >= size) ?? ["s", 1];
function duration(time) {
  // in the largest unit of which it is a multiple of a half: 90 s are 1.5 min, 100 s stay
  const [name, size] = UNITS.find(([, each]) => time >= each && Number.isInteger((2 * time) / each)) ?? ["s", 1];
  return `${Number((time / size).toPrecision(4))} ${name}`;
}

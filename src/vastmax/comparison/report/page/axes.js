"use strict";
// Numbers as they are written, and where axes begin, end and have their marks.
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

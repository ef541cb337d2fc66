"use strict";
// What all scripts of the page share: the records, how each method looks, which are hidden.
// Classic scripts see each other's names, in the order of the page: methods, axes, names, figures, controls.
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

// Told apart by people who do not see red and green alike, and never by colour alone.
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

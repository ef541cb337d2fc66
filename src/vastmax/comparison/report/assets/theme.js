"use strict";
// Light or dark theme: the stored choice, or else the system's. This script runs first, so that a dark page has no white flash.
// Pages have a button #theme, listen to "themechange", and read colours with token("ink").
const root = document.documentElement;
const token = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
const system = matchMedia("(prefers-color-scheme: dark)");
let chosen = null;
try { chosen = localStorage.getItem("vastmax-theme"); } catch { /* no storage: not remembered */ }
function paint(theme) {
  root.dataset.theme = theme || chosen || (system.matches ? "dark" : "light");
  document.dispatchEvent(new Event("themechange"));
}
paint();
system.addEventListener("change", () => paint());
document.addEventListener("click", ({ target }) => {
  if (!target.closest("#theme")) return;
  chosen = root.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("vastmax-theme", chosen); } catch { /* no storage: not remembered */ }
  paint();
});

"use strict";
// Light or dark: as chosen on such a page before, or else as the system has it. This script comes first, so that a dark page does not begin
// with a white flash. Pages press #theme, hear "themechange", and read colours and fonts by token("ink").
const root = document.documentElement;
const token = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
const system = matchMedia("(prefers-color-scheme: dark)");
let chosen = null;
try { chosen = localStorage.getItem("vastmax-theme"); } catch { /* not kept, then */ }
function paint(theme) {
  root.dataset.theme = theme || chosen || (system.matches ? "dark" : "light");
  document.dispatchEvent(new Event("themechange"));
}
paint();
system.addEventListener("change", () => paint());
document.addEventListener("click", ({ target }) => {
  if (!target.closest("#theme")) return;
  chosen = root.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("vastmax-theme", chosen); } catch { /* not kept, then */ }
  paint();
});

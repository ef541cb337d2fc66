"use strict";
// Before anything is drawn, so that a dark page does not begin with a white flash.
window.vastmaxTheme = () => {
  let chosen = null;
  try { chosen = localStorage.getItem("vastmax-theme"); } catch { /* not kept, then */ }
  return chosen || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
};
document.documentElement.dataset.theme = window.vastmaxTheme();

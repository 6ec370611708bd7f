// Runs before the first paint. The server writes data-bs-theme from the "theme" cookie; this resolves its absence.
(() => {
  const root = document.documentElement;
  if (root.dataset.bsTheme) return;
  root.dataset.bsTheme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
})();

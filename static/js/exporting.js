// An export that shows how far it is: its rows are counted as they arrive, and the file is kept once all are there.
// Without this script the link is a download like any other, and so it is with a modifier key.
(() => {
  "use strict";
  const FOLD_BYTES = 4 * 1024 * 1024; // what is handed to the browser's own store, so that no file fills the memory
  const DRAWN_EVERY_MS = 150;
  const LINE_END = 10; // cells hold none (dashboard/csv_files.py), so lines are rows
  const run = document.getElementById("export-run");
  const part = (name) => run.querySelector(`[data-${name}]`);
  const bar = run.querySelector("[role=progressbar]");
  const number = new Intl.NumberFormat("en-US");
  const say = (detail) => document.body.dispatchEvent(new CustomEvent("toast", { detail }));
  let stopping = null;
  const warn = (event) => event.preventDefault(); // leaving the page ends it

  // `known` is the list's total: "1,204", or "10,000+" where nobody counts further.
  const draw = (rows, known) => {
    const total = known.endsWith("+") ? 0 : Number(known.replaceAll(",", ""));
    const percent = total ? Math.min(100, Math.floor((rows * 100) / total)) : null;
    part("done").textContent = `${number.format(rows)} of ${known} rows`;
    bar.firstElementChild.classList.toggle("progress-bar-indeterminate", percent === null);
    bar.firstElementChild.style.width = percent === null ? "" : `${percent}%`;
    if (percent === null) bar.removeAttribute("aria-valuenow");
    else bar.setAttribute("aria-valuenow", percent);
    const said = percent >= 50 && percent < 100 ? "50% exported" : "";
    if (said && part("said").textContent !== said) part("said").textContent = said;
  };

  const read = async (response, known) => {
    const reader = response.body.getReader();
    let file = new Blob([], { type: "text/csv" });
    let parts = [], size = 0, lines = 0, drawn = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return [new Blob([file, ...parts], { type: "text/csv" }), Math.max(0, lines - 1)];
      for (const byte of value) if (byte === LINE_END) lines += 1;
      parts.push(value);
      size += value.length;
      if (size > FOLD_BYTES) [file, parts, size] = [new Blob([file, ...parts], { type: "text/csv" }), [], 0];
      if (performance.now() - drawn < DRAWN_EVERY_MS) continue;
      drawn = performance.now();
      draw(Math.max(0, lines - 1), known);
    }
  };

  const save = (file, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };

  const start = async (link) => {
    stopping = new AbortController();
    run.hidden = false;
    part("said").textContent = "Export started";
    draw(0, link.dataset.total);
    window.addEventListener("beforeunload", warn);
    try {
      const response = await fetch(link.href, { signal: stopping.signal });
      if (!response.ok || !response.headers.get("Content-Type")?.startsWith("text/csv")) {
        throw new Error(`answered ${response.status}`);
      }
      const [file, rows] = await read(response, link.dataset.total);
      save(file, /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") || "")?.[1] || "export.csv");
      say({ kind: "ok", title: "Export done", text: `${number.format(rows)} ${rows === 1 ? "row" : "rows"} in the file.` });
    } catch (error) {
      if (error.name === "AbortError") say({ kind: "info", title: "Export stopped", text: "No file was kept." });
      else say({ kind: "bad", title: "The export broke off", text: "No file was kept. Load the page again and retry." });
    } finally {
      window.removeEventListener("beforeunload", warn);
      run.hidden = true;
      part("said").textContent = "";
      stopping = null;
    }
  };

  part("stop").addEventListener("click", () => stopping?.abort());
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-export]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (!stopping) start(link);
  });
})();

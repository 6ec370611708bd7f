// Charts: <canvas data-chart="id"> draws {{ data|json_script:"id" }}, in the colours of the theme, and again when that
// changes. The numbers stand beside it too, in <details data-chart-table>, which is open for browsers without scripts.
(() => {
  "use strict";
  const drawn = new Map(); // canvas: its chart
  const data = new Map(); // id: what its chart shows
  const opened = new Set(); // ids of the tables that the person opened

  const colour = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  };
  const hatched = (stroke) => {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const pen = tile.getContext("2d");
    pen.strokeStyle = stroke;
    pen.lineWidth = 1.6;
    [[-2, 2, 2, -2], [0, 8, 8, 0], [6, 10, 10, 6]].forEach(([fromX, fromY, toX, toY]) => {
      pen.moveTo(fromX, fromY);
      pen.lineTo(toX, toY);
    });
    pen.stroke();
    return pen.createPattern(tile, "repeat");
  };
  const written = (number) => number.toLocaleString("en-US");
  // The scale has 46 pixels: 12,000,000 has no room there, 12M has.
  const short = (number) => (number < 10000 ? written(number) : number.toLocaleString("en-US", { notation: "compact" }));

  const bars = ({ series, unfinished = 0 }) => series.map(({ label, color, data: numbers }) => {
    const full = colour(color);
    const part = hatched(full);
    const isOver = (_, index) => index < numbers.length - unfinished;
    return {
      type: "bar", label, data: numbers, stack: "one", borderRadius: 2, barPercentage: 0.68, categoryPercentage: 0.92,
      maxBarThickness: 34, backgroundColor: numbers.map((...at) => (isOver(...at) ? full : part)),
    };
  });
  const options = ({ days = true }) => ({
    maintainAspectRatio: false,
    animation: false,
    interaction: { mode: "index", intersect: false },
    layout: { padding: { top: 6 } },
    scales: {
      x: {
        stacked: true, grid: { display: false }, border: { color: colour("--cv-line-strong") },
        ticks: { display: days, maxRotation: 0, autoSkipPadding: 14 },
      },
      y: {
        stacked: true, beginAtZero: true, border: { display: false }, grid: { color: colour("--cv-grid") },
        afterFit: (scale) => { scale.width = 46; }, // charts under each other share their days
        ticks: { maxTicksLimit: days ? 3 : 5, precision: 0, padding: 6, callback: short },
      },
    },
    plugins: {
      legend: { display: false },
      tooltip: {
        backgroundColor: colour("--cv-raised"), titleColor: colour("--cv-text"), bodyColor: colour("--cv-text"),
        borderColor: colour("--cv-line-strong"), borderWidth: 1, padding: 10, boxPadding: 4, usePointStyle: true,
        callbacks: { label: ({ dataset, parsed }) => ` ${dataset.label}: ${written(parsed.y)}` },
      },
    },
  });

  const remember = (page) => page.querySelectorAll("canvas[data-chart]").forEach((canvas) => {
    const script = page.getElementById(canvas.dataset.chart);
    if (script) data.set(canvas.dataset.chart, JSON.parse(script.textContent));
  });
  const draw = () => {
    const { Chart } = window;
    if (Chart) {
      Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
      Chart.defaults.color = colour("--cv-text-3");
    }
    drawn.forEach((chart) => chart.destroy());
    drawn.clear();
    document.querySelectorAll("canvas[data-chart]").forEach((canvas) => {
      const shown = data.get(canvas.dataset.chart);
      if (Chart && shown) {
        drawn.set(canvas, new Chart(canvas, { data: { labels: shown.labels, datasets: bars(shown) }, options: options(shown) }));
      }
    });
    document.querySelectorAll("details[data-chart-table]:not([data-ready])").forEach((table) => {
      table.open = opened.has(table.id) || !Chart;
      table.dataset.ready = "";
      table.addEventListener("toggle", () => opened[table.open ? "add" : "delete"](table.id));
    });
  };

  // htmx leaves out every script of an answer, those with data too.
  document.addEventListener("htmx:beforeSwap", (event) => {
    remember(new DOMParser().parseFromString(event.detail.serverResponse, "text/html"));
  });
  document.addEventListener("htmx:afterSwap", (event) => { if (event.target.querySelector?.("canvas[data-chart]")) draw(); });
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
  remember(document);
  draw();
  document.fonts.ready.then(draw);
})();

// Makes what is in static/vendor of the packages that package.json pins: of Tabler's stylesheet the rules that our pages
// can use, of Chart.js what draws bars. fonts.py makes the fonts. `make vendor` runs both; `--print NAME` writes nothing.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, stop } from "esbuild-wasm";
import { PurgeCSS } from "purgecss";
import { minify } from "terser";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = join(here, "../..");
const packages = join(here, "node_modules");
const read = (...path) => readFileSync(join(...path), "utf8");

// What may name a class, an id, an element or an attribute. Words of sentences are left out, or "progress" in a text
// would bring the rules of progress bars. The admin has its own stylesheet.
const SOURCES = [["templates", ".html"], ["static/js", ".js"], ["dashboard", ".py"], ["convultra", ".py"]];
const words = (text) => text.match(/[\w-]+/g) ?? [];
const ofMarkup = (text) => words(text.replace(/>[^<>{}]+</g, "><"));
const ofCode = (text) => (text.match(/"[^"\n]*"|'[^'\n]*'|`[^`]*`/g) ?? []).flatMap(words);

function sources() {
  return SOURCES.flatMap(([folder, end]) => readdirSync(join(root, folder), { recursive: true })
    .filter((path) => path.endsWith(end)).sort()
    .map((path) => ({ raw: read(root, folder, path), extension: end.slice(1) })));
}

/** Return Tabler's minified stylesheet without the rules and variables that nothing of ours asks for. */
async function stylesheet() {
  const [{ css }] = await new PurgeCSS().purge({
    content: sources(),
    css: [{ raw: read(packages, "@tabler/core/dist/css/tabler.min.css").replace(/\n\/\*# source.*/, "") }],
    extractors: [{ extractor: ofMarkup, extensions: ["html"] }, { extractor: ofCode, extensions: ["js", "py"] }],
    fontFace: true, keyframes: true, variables: true,
    safelist: { variables: read(root, "static/css/app.css").match(/--tblr-[\w-]+/g) },
  });
  return css;
}

/** Return Chart.js as `window.Chart`, which knows stacked bars by category and their tooltips, and nothing else. */
async function charts() {
  const entry = `
    import { BarController, BarElement, CategoryScale, Chart, LinearScale, Tooltip } from "chart.js";
    Chart.register(BarController, BarElement, CategoryScale, LinearScale, Tooltip);
    window.Chart = Chart;`;
  const { outputFiles: [bundle] } = await build({
    stdin: { contents: entry, resolveDir: here },
    bundle: true, format: "iife", target: "es2022", legalComments: "none", write: false,
  });
  const { code } = await minify(bundle.text, { ecma: 2020, compress: { passes: 3 }, format: { comments: false } });
  return `/*! Chart.js 4.6.1, bars only | MIT | https://www.chartjs.org */\n${code}\n`;
}

const MADE = { "tabler-1.6.1.used.css": stylesheet, "chart-4.6.1.bars.js": charts };
const wanted = process.argv[2] === "--print" ? process.argv[3] : "";
for (const [name, make] of Object.entries(MADE)) {
  if (wanted && wanted !== name) continue;
  const text = await make();
  if (wanted) process.stdout.write(text);
  else writeFileSync(join(root, "static/vendor", name), text);
}
await stop();

// Minifies static/sdk/source/convultra.v1.js to what pages load: under the moving name, and under its exact version.
// `--print` writes to the console only, `--release` also records the version's hash: from then on it is never changed.
import { createHash } from "node:crypto";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { minify } from "terser";

const folder = fileURLToPath(new URL("../../static/sdk/", import.meta.url));
const recorded = folder + "versions/RELEASED";
const LITERAL = /^ {2}const ([A-Z_]+) = (\d\w*|"[^"]*"|\/.*\/i?);.*\n/gm;

/** @returns {Promise<string>} */
export async function minified() {
  let source = readFileSync(folder + "source/convultra.v1.js", "utf8");
  // Functions are hoisted, so terser must take it that one may run before a constant is set, and inlines none.
  const constants = [...source.matchAll(LITERAL)];
  source = source.replace(LITERAL, "");
  for (const [, name, value] of constants) source = source.replace(new RegExp(`\\b${name}\\b`, "g"), () => value);
  const { code } = await minify(source.replace(/\bconst\b/g, "let"), {
    ecma: 2020,
    // unsafe_arrows: no function of ours is constructed, or asks for its prototype.
    compress: { passes: 3, unsafe_arrows: true, booleans_as_integers: true },
    format: { comments: /^!/ },
  });
  return code + "\n";
}

const code = await minified();
if (process.argv.includes("--print")) {
  process.stdout.write(code);
} else {
  const name = `convultra.v${/SDK (\d+\.\d+\.\d+) /.exec(code)?.[1]}.js`;
  const integrity = "sha384-" + createHash("sha384").update(code).digest("base64");
  const lines = readFileSync(recorded, "utf8").split("\n");
  const released = lines.find((line) => line.endsWith("  " + name));
  if (released && released !== `${integrity}  ${name}`) {
    console.error(`${name} is released, and pages pin its hash: raise the version in the source, at both places.`);
    process.exit(1);
  }
  writeFileSync(folder + "convultra.v1.js", code);
  writeFileSync(`${folder}versions/${name}`, code);
  if (process.argv.includes("--release") && !released) appendFileSync(recorded, `${integrity}  ${name}\n`);
}

/** The examples run unchanged and do what they say. The tutorial's text quotes its code. */

import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadCheckpoint } from "../src/index.ts";
import { findChromium } from "../src/parity/chromium.ts";
import { thorough } from "../src/test-depth.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const patient = { timeout: 300_000 };

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-examples-"));
  for (const name of ["red", "blue"]) {
    await mkdir(join(folder, "pictures", name), { recursive: true });
    for (let i = 0; i < 4; i++)
      await sharp({ create: { width: 8, height: 8, channels: 3, background: name } })
        .png()
        .toFile(join(folder, "pictures", name, `${i}.png`));
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The lines that an example prints. It must exit with 0 and write nothing to stderr. */
async function printed(name: string, ...args: string[]): Promise<string[]> {
  const program = ["--import", "tsx", join(root, "examples", name), ...args];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, program, { cwd: root });
  expect(stderr).toBe("");
  return stdout.trimEnd().split("\n");
}

it.runIf(thorough).each(["train-in-worker.ts", "train-folder.ts"])("%s trains and saves", patient, async (name) => {
  const out = join(folder, name);
  expect((await printed(name, join(folder, "pictures"), out, "2")).join("\n")).toMatch(/step\W+1\b/);
  expect((await loadCheckpoint(join(out, "last"))).state.step).toBe(2);
});

it("sample.ts draws a grid of the requested classes", patient, async () => {
  const out = join(folder, "samples.png");
  const lines = await printed("sample.ts", out);
  const shares = lines.slice(0, -1).map((line) => Number(/^(\d+)% drawn$/.exec(line)![1]));
  expect(shares).toHaveLength(4);
  expect(shares).toEqual(shares.toSorted((a, b) => a - b));
  expect(shares.at(-1)).toBe(100);
  expect(lines.at(-1)).toBe(`${out}: heart, smiling face, heart, loving face`);
  const { data } = await sharp(out).greyscale().raw().toBuffer({ resolveWithObject: true });
  expect(new Set(data).size).toBeGreaterThan(50);
});

it.runIf(thorough)("edit.ts keeps the pixels outside the mask", patient, async () => {
  const out = join(folder, "edited.png");
  expect(await printed("edit.ts", out)).toEqual([`${out}: the pixels outside the mask are kept to the byte`]);
  expect((await sharp(out).metadata()).format).toBe("png");
});

it.runIf(thorough)("likelihood.ts measures the images of a folder", patient, async () => {
  const large = join(folder, "large");
  for (const name of ["red", "blue"]) {
    await mkdir(join(large, name), { recursive: true });
    for (let i = 0; i < 4; i++)
      await sharp(join(folder, "pictures", name, `${i}.png`))
        .resize(40)
        .extend({ right: i, background: "white" }) // no two are equal
        .toFile(join(large, name, `${i}.png`));
  }
  const lines = await printed("likelihood.ts", large, "3");
  expect(lines).toHaveLength(4);
  for (const line of lines.slice(0, 3)) expect(line).toMatch(/^(red|blue)\/\d\.png: \d+\.\d\d bits per dimension$/);
  expect(lines[3]).toMatch(/^mean \d+\.\d\d ± \d+\.\d\d$/);
});

it.runIf(thorough)("serve.ts answers a request and ends", patient, async () => {
  const lines = await printed("serve.ts");
  expect(lines).toHaveLength(2);
  for (const line of lines) expect(Number(/^a PNG of (\d+) bytes$/.exec(line)?.[1])).toBeGreaterThan(500);
});

it("first-gradient.ts computes the slope that it measures, and learns", patient, async () => {
  const lines = await printed("first-gradient.ts");
  const [, slope, measured] = /^slope (\S+), measured (\S+)$/.exec(lines[0])!.map(Number);
  expect(Math.abs(slope - measured)).toBeLessThan(0.1 * Math.abs(slope));
  const losses = lines.slice(1).map((line) => Number(/: loss (\S+)$/.exec(line)![1]));
  expect(losses[0]).toBeGreaterThan(1);
  expect(losses.at(-1)).toBeLessThan(0.001);
});

it.runIf(thorough)("browser.ts can be built for a page, and draws in it", patient, async (context) => {
  const { build } = await import("vite");
  const out = join(folder, "page");
  await build({
    root: join(root, "examples"),
    base: "./",
    logLevel: "error",
    build: { outDir: out, target: "es2023", rollupOptions: { input: join(root, "examples/browser.html") } },
  });
  const scripts = (await readdir(join(out, "assets"))).filter((name) => name.endsWith(".js"));
  const code = await Promise.all(scripts.map((name) => readFile(join(out, "assets", name), "utf8")));
  expect(code.join("\n")).not.toMatch(/from ?"node:|require\("node:|onnxruntime-node|__vite-browser-external/);
  const executablePath = findChromium();
  context.skip(!executablePath, "there is no chromium or google-chrome in PATH");

  await cp(join(root, "models/emoji"), join(out, "model"), { recursive: true });
  const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
  const server = createServer(async ({ url = "/" }, response) => {
    const bytes = await readFile(join(out, url)).catch(() => undefined);
    response.writeHead(bytes ? 200 : 404, { "content-type": types[extname(url)] ?? "application/octet-stream" });
    response.end(bytes);
  }).listen(0, "127.0.0.1");
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/browser.html`);
    // As text, because the types of the page are not known here.
    await page.waitForFunction(`document.querySelector("p").textContent === "100% drawn"`, null, patient);
    const pixels = `document.querySelector("canvas").getContext("2d").getImageData(0, 0, 32, 32).data`;
    const colours = await page.evaluate<number>(`new Set(new Uint32Array(${pixels}.buffer)).size`);
    expect(colours).toBeGreaterThan(20);
  } finally {
    await browser.close();
    server.close();
  }
});

describe("the tutorial", () => {
  it.runIf(thorough)("trains, samples and writes its pictures", patient, async () => {
    const out = join(folder, "tutorial");
    const lines = await printed("tutorial.ts", out, "4");
    const bits = lines.flatMap((line) => /^step \d+: (\S+) bits per value$/.exec(line)?.slice(1).map(Number) ?? []);
    expect(bits).toHaveLength(2);
    expect(bits[0]).toBeGreaterThan(1.9); // near 2 bits: four values, all equally likely
    expect(bits[1]).toBeLessThan(bits[0]);
    for (const name of ["data.png", "samples.png"])
      expect((await sharp(join(out, name)).metadata()).width).toBeGreaterThan(500);
    const drawing = await readFile(join(out, "recursion.svg"));
    expect((await sharp(drawing).metadata()).format).toBe("svg");
  });

  it("quotes its code exactly", async () => {
    const text = await readFile(join(root, "docs/tutorial.md"), "utf8");
    const files = ["tutorial.ts", "tutorial-shapes.ts"].map((name) => readFile(join(root, "examples", name), "utf8"));
    const code = (await Promise.all(files)).join("\n");
    const quotes = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, quote]) => quote);
    expect(quotes.length).toBeGreaterThan(5);
    for (const quote of quotes) expect(code).toContain(quote);
  });
});

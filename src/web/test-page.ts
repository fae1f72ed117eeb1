/** Test helpers for the studio page in a real browser. */

import { execFile } from "node:child_process";
import {
  createReadStream,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type OutgoingHttpHeaders } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium, type Page } from "playwright-core";
import sharp from "sharp";
import { expect } from "vitest";
import { findChromium } from "../parity/chromium.ts";

export const executablePath = findChromium();
export const root = fileURLToPath(new URL("../../", import.meta.url));
/** A long timeout in milliseconds, because a busy machine may take long to compile the runtime. */
export const patient = 240_000;

export const launch = (args: string[] = []) => chromium.launch({ executablePath, args: ["--no-sandbox", ...args] });

export interface Built {
  folder: string;
  /** The output of the build. */
  output: string;
  remove(): void;
}

/** The studio with the shipped model, built once for all test files of a run. */
export async function shippedStudio(): Promise<Built> {
  const folder = join(process.env["FRACTALGEN_BUILD"]!, "studio");
  const report = join(folder, "output.txt");
  if (!existsSync(report)) {
    // Two test processes may build it at the same time; one of them moves its folder there.
    const own = await buildStudio();
    writeFileSync(join(own.folder, "output.txt"), own.output);
    try {
      renameSync(own.folder, folder);
    } catch {
      own.remove();
    }
  }
  return { folder, output: readFileSync(report, "utf8"), remove: () => {} };
}

/** Builds the studio into a temporary folder, with the model in folder `model` instead of the shipped one if given. */
export async function buildStudio(model?: string): Promise<Built> {
  const folder = mkdtempSync(join(tmpdir(), "fractalgen-studio-"));
  // In a separate process, because vitest's environment differs from that of a build.
  const program = join(root, "node_modules/vite/bin/vite.js");
  const env = { ...process.env, NODE_ENV: "production", ...(model ? { FRACTALGEN_STUDIO_MODEL: model } : {}) };
  const args = [program, "build", "--outDir", folder, "--emptyOutDir"];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, env, maxBuffer: 1e7 });
  return { folder, output: stdout, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

const types: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".wasm": "application/wasm",
};

export interface Host {
  address: string;
  /** The folder to serve. */
  folder: string;
  /** Bytes per second of a large file; unlimited by default. */
  rate: number;
  /** Called before each answer, which waits for the result. */
  before: (path: string) => unknown;
  /** The paths that were asked for. */
  asked: string[];
  close(): void;
}

/** A plain file server under /some/folder/ that sends only the content type, the length and the given headers. */
export async function staticHost(
  folder: string,
  headersOf: (path: string) => OutgoingHttpHeaders = () => ({}),
): Promise<Host> {
  const prefix = "/some/folder/";
  const server = createServer(async ({ url = "" }, response) => {
    const path = url.replace(/[?#].*/, "");
    host.asked.push(path.slice(prefix.length));
    await host.before(path.slice(prefix.length));
    const file = join(host.folder, path.slice(prefix.length), path.endsWith("/") ? "index.html" : "");
    const stat = statSync(file, { throwIfNoEntry: false });
    if (!path.startsWith(prefix) || !stat?.isFile())
      return response.writeHead(404, { "content-type": "text/html" }).end("Not found");
    const type = types[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-length": stat.size, ...headersOf(path) });
    if (host.rate === Infinity || stat.size < 1e6) return createReadStream(file).pipe(response);
    const bytes = readFileSync(file);
    for (let at = 0; at < bytes.length && !response.destroyed; at += host.rate / 20) {
      response.write(bytes.subarray(at, at + host.rate / 20));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}${prefix}`;
  const close = () => void server.close();
  const host: Host = { address, folder, rate: Infinity, before: () => {}, asked: [], close };
  return host;
}

/** Waits for the drawing to end and returns the status. */
export async function ended(on: Page): Promise<string> {
  await on.waitForFunction(() => {
    // A page that reloads itself is empty for a moment.
    const text = (id: string) => document.querySelector(id)?.textContent ?? "";
    return (
      text("#error") !== "" ||
      (/^(Drew|Cancelled)/.test(text("#status")) &&
        !document.querySelector("#draw[aria-disabled=true], #draw:disabled"))
    );
  });
  expect(await on.textContent("#error")).toBe("");
  return (await on.textContent("#status"))!;
}

/** Clicks a button and returns the bytes of the downloaded file. */
export async function saved(on: Page, button: string): Promise<Buffer> {
  const [download] = await Promise.all([on.waitForEvent("download"), on.click(button)]);
  return readFileSync(await download.path());
}

export const pixelsOf = async (file: Buffer) => Uint8Array.from(await sharp(file).removeAlpha().raw().toBuffer());

/** RGBA bytes of one of the page's canvases, sent as text, because a list of numbers takes seconds for a large one. */
export async function canvasOf(on: Page, id: string): Promise<Buffer> {
  const base64 = await on.evaluate((id) => {
    const canvas = document.querySelector<HTMLCanvasElement>(id)!;
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    let text = "";
    for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
    return btoa(text);
  }, id);
  return Buffer.from(base64, "base64");
}

export async function last(frames: AsyncGenerator<unknown, Uint8Array>): Promise<Uint8Array> {
  for (;;) {
    const next = await frames.next();
    if (next.done) return next.value;
  }
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What breaks the rules of accessibility on a page, as axe finds it. */
export async function violations(on: Page): Promise<string[]> {
  await on.evaluate(axe);
  return on.evaluate(async () => {
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const { run } = (
      window as unknown as {
        axe: {
          run: (
            on: Document,
            options: object,
          ) => Promise<{ violations: { id: string; nodes: { target: string[] }[] }[] }>;
        };
      }
    ).axe;
    const { violations } = await run(document, { runOnly: tags });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
  });
}

export const different = (a: Uint8Array, b: Uint8Array) => a.reduce((sum, value, i) => sum + Number(value !== b[i]), 0);

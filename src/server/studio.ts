/** Serves the studio, or a page that says how to build it, and the models that it can run in the browser. */

import { createHash } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { join, sep } from "node:path";
import { Readable } from "node:stream";
import { serveStatic } from "@hono/node-server/serve-static";
import type { Context, Hono, MiddlewareHandler } from "hono";
import { configName } from "../files/model.ts";
import { shown } from "../core/text.ts";
import { ApiError } from "./errors.ts";
import type { ServedModel } from "./models.ts";

const unbuilt = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>fractalgen</title>
<style>body { font: 1rem/1.5 system-ui; max-width: 40rem; margin: 4rem auto; padding: 0 1rem; color-scheme: light dark }</style>
<h1>fractalgen</h1>
<p>The studio has not been built. Build it, then reload this page:</p>
<pre>npm run build:web</pre>
<p>The API works without it: <a href="/openapi.json">its description</a>, <a href="/v1/models">models</a>,
<a href="/healthz">health</a>, <a href="/metrics">metrics</a>.</p>
</html>
`;

/** Looks for the folder on each request, so that a new build is served without a restart. */
export function studio(folder: string | undefined): MiddlewareHandler {
  let files: MiddlewareHandler | undefined;
  return async (c, next) => {
    c.header("X-Content-Type-Options", "nosniff");
    if (folder !== undefined && existsSync(join(folder, "index.html"))) {
      // File names in assets/ contain a hash of the content; all other files may change with the next build.
      const named = c.req.path.startsWith("/assets/");
      c.header("Cache-Control", named ? "public, max-age=31536000, immutable" : "no-cache");
      files ??= serveStatic({ root: folder }); // warns if the folder does not exist
      return files(c, next);
    }
    return c.req.path === "/" ? c.html(unbuilt) : next();
  };
}

/** Whether a path is the studio page or one of its files. */
export function isStudioFile(folder: string | undefined, path: string): boolean {
  if (path === "/") return true;
  if (folder === undefined || !URL.canParse(path, "http://localhost")) return false;
  try {
    const file = join(folder, decodeURIComponent(path));
    return file.startsWith(folder + sep) && statSync(file, { throwIfNoEntry: false })?.isFile() === true;
  } catch {
    return false; // not UTF-8, or contains a zero byte
  }
}

/** The largest weights a page should download, and the largest image whose distributions it can keep. */
const most = { bytes: 200e6, imageSize: 64 };

interface OfferedFiles {
  name: string;
  /** Addresses relative to the page's. */
  config: string;
  weights: string;
  /** Size of the weights. */
  bytes: number;
}

/**
 * What the page needs to know about a model, or undefined if a browser cannot run it. The addresses contain a hash of the
 * state of both files, so that no page and no cache mixes files from before and after a change.
 */
function offeredFiles({ name, folder, config }: ServedModel): { offered: OfferedFiles; paths: string[] } | undefined {
  const paths = [join(folder.folder, configName), folder.weights.path];
  const states = paths.map((path) => statSync(path, { throwIfNoEntry: false }));
  const [configState, weightsState] = states;
  if (!configState || !weightsState) return undefined; // being replaced at this moment
  const bytes = weightsState.size;
  if (bytes > most.bytes || config.imageSize > most.imageSize) return undefined;
  const all = [configState, weightsState].flatMap(({ size, mtimeMs, ctimeMs }) => [size, mtimeMs, ctimeMs]);
  const tag = createHash("sha256").update(all.join()).digest("hex").slice(0, 12);
  const address = (file: string) => `served/${encodeURIComponent(name)}/${file}`;
  const addresses = { config: address(`config-${tag}.json`), weights: address(`model-${tag}.safetensors`) };
  return { offered: { name, ...addresses, bytes }, paths };
}

/** Serves `models.json` and the two files of each model in it. Names are looked up only in that list. */
export function offerModels(app: Hono, models: readonly ServedModel[]): void {
  app.get("/models.json", (c) => {
    c.header("Cache-Control", "no-cache");
    return c.json(models.map(offeredFiles).flatMap((found) => found?.offered ?? []));
  });
  app.get("/served/:model/:file", (c) => {
    const { model: name, file } = c.req.param();
    const model = models.find((one) => one.name === name);
    const found = model && offeredFiles(model);
    const { config = "", weights = "" } = found?.offered ?? {};
    const path = found?.paths[[config, weights].findIndex((address) => address.endsWith(`/${file}`))];
    if (!path)
      throw new ApiError(404, `model "${shown(name)}" has no file "${shown(file)}", or was replaced; reload the page`);
    return fileAnswer(c, path);
  });
}

/** Returns a file that browsers may cache forever, because a changed file has another address. */
async function fileAnswer(c: Context, path: string): Promise<Response> {
  const handle = await open(path);
  const { size } = await handle.stat();
  c.header("Cache-Control", "private, max-age=31536000, immutable");
  c.header("Content-Type", path.endsWith(".json") ? "application/json" : "application/octet-stream");
  c.header("Content-Length", String(size));
  if (c.req.method !== "HEAD") return c.body(Readable.toWeb(handle.createReadStream()) as ReadableStream);
  await handle.close();
  return c.body(null);
}

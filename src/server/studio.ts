/** Serves the studio, or a page that says how to build it, and the models that it can run in the browser. */

import { createReadStream, existsSync, statSync } from "node:fs";
import { basename, join, sep } from "node:path";
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

/** Whether a browser can run a model. Larger models run only on the server. */
const runsInBrowsers = ({ folder, config }: ServedModel): boolean =>
  statSync(folder.weights.path).size <= most.bytes && config.imageSize <= most.imageSize;

/** Serves `models.json` and the two files of each model in it. Names are looked up only in that list. */
export function offerModels(app: Hono, served: readonly ServedModel[]): void {
  const models = served.filter(runsInBrowsers);
  app.get("/models.json", (c) =>
    c.json(models.map(({ name }) => ({ name, folder: `served/${encodeURIComponent(name)}/` }))),
  );
  app.get("/served/:model/:file", (c) => {
    const { model, file } = c.req.param();
    const folder = models.find(({ name }) => name === model)?.folder;
    const path = folder && [join(folder.folder, configName), folder.weights.path].find((one) => basename(one) === file);
    if (!path) throw new ApiError(404, `no model "${shown(model)}" has a file "${shown(file)}"`);
    return fileAnswer(c, path);
  });
}

/** Returns a file that browsers may cache but must revalidate. */
function fileAnswer(c: Context, path: string): Response {
  const { size, mtimeMs } = statSync(path);
  const tag = `"${size.toString(36)}-${Math.floor(mtimeMs).toString(36)}"`;
  c.header("Cache-Control", "no-cache");
  c.header("ETag", tag);
  if (c.req.header("If-None-Match") === tag) return c.body(null, 304);
  c.header("Content-Type", path.endsWith(".json") ? "application/json" : "application/octet-stream");
  c.header("Content-Length", String(size));
  if (c.req.method === "HEAD") return c.body(null); // a stream would never be read, and its file never closed
  return c.body(Readable.toWeb(createReadStream(path)) as ReadableStream);
}

/** The studio's files, or a page that says how to build them; and the models that it can open in the browser. */

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
<p>The studio is not built. Build it and load this page again:</p>
<pre>npm run build:web</pre>
<p>The API works without it: <a href="/openapi.json">its description</a>, <a href="/v1/models">models</a>,
<a href="/healthz">health</a>, <a href="/metrics">metrics</a>.</p>
</html>
`;

/** The folder is looked for at each request, so that a build is there without a restart. */
export function studio(folder: string | undefined): MiddlewareHandler {
  let files: MiddlewareHandler | undefined;
  return async (c, next) => {
    c.header("X-Content-Type-Options", "nosniff");
    if (folder !== undefined && existsSync(join(folder, "index.html"))) {
      // The build names what is in assets/ by its content; all else may be another after the next build.
      const named = c.req.path.startsWith("/assets/");
      c.header("Cache-Control", named ? "public, max-age=31536000, immutable" : "no-cache");
      files ??= serveStatic({ root: folder }); // warns where there is no such folder
      return files(c, next);
    }
    return c.req.path === "/" ? c.html(unbuilt) : next();
  };
}

/** Whether a path is the page or a file of it. */
export function isStudioFile(folder: string | undefined, path: string): boolean {
  if (path === "/") return true;
  if (folder === undefined || !URL.canParse(path, "http://localhost")) return false;
  try {
    const file = join(folder, decodeURIComponent(path));
    return file.startsWith(folder + sep) && statSync(file, { throwIfNoEntry: false })?.isFile() === true;
  } catch {
    return false; // no UTF-8, or a zero byte
  }
}

/** What a page can be expected to fetch and to keep the distributions of. */
const most = { bytes: 200e6, imageSize: 64 };

/** Whether a browser can run a model: larger ones are drawn by the server alone. */
const runsInBrowsers = ({ folder, config }: ServedModel): boolean =>
  statSync(folder.weights.path).size <= most.bytes && config.imageSize <= most.imageSize;

/** `models.json` and the two files of each model in it; a name is looked up in the list and nowhere else. */
export function offerModels(app: Hono, served: readonly ServedModel[]): void {
  const models = served.filter(runsInBrowsers);
  app.get("/models.json", (c) =>
    c.json(models.map(({ name }) => ({ name, folder: `served/${encodeURIComponent(name)}/` }))),
  );
  app.get("/served/:model/:file", (c) => {
    const { model, file } = c.req.param();
    const folder = models.find(({ name }) => name === model)?.folder;
    const path = folder && [join(folder.folder, configName), folder.weights.path].find((one) => basename(one) === file);
    if (!path) throw new ApiError(404, `there is no model "${shown(model)}" with a file "${shown(file)}"`);
    return fileAnswer(c, path);
  });
}

/** A file that browsers may keep and have to ask after. */
function fileAnswer(c: Context, path: string): Response {
  const { size, mtimeMs } = statSync(path);
  const tag = `"${size.toString(36)}-${Math.floor(mtimeMs).toString(36)}"`;
  c.header("Cache-Control", "no-cache");
  c.header("ETag", tag);
  if (c.req.header("If-None-Match") === tag) return c.body(null, 304);
  c.header("Content-Type", path.endsWith(".json") ? "application/json" : "application/octet-stream");
  c.header("Content-Length", String(size));
  if (c.req.method === "HEAD") return c.body(null); // nobody would close the file
  return c.body(Readable.toWeb(createReadStream(path)) as ReadableStream);
}

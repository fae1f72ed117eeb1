/** The studio's files, or a page that says how to build them. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { serveStatic } from "@hono/node-server/serve-static";
import type { MiddlewareHandler } from "hono";

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

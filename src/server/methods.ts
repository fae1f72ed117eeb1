/** Answers requests without a route: 404 for unknown paths, 405 with `Allow` for wrong methods, and OPTIONS. */

import type { Context, Hono } from "hono";
import { ApiError } from "./errors.ts";

/** Returns the handler for requests that no route matches. `isFile` says whether a path is a static file. */
export function elsewhere(app: Hono, isFile: (path: string) => boolean): (c: Context) => Response {
  const routes = app.routes
    .filter(({ method, path }) => method !== "ALL" && !path.includes("*"))
    .map(({ method, path }) => ({ method, pattern: new RegExp(`^${path.replaceAll(/:\w+/g, "[^/]+")}$`) }));
  return (c) => {
    const { method, path } = c.req;
    const found = routes.filter(({ pattern }) => pattern.test(path)).map((route) => route.method);
    const methods = found.length === 0 && isFile(path) ? ["GET"] : found;
    if (methods.length === 0) throw new ApiError(404, `there is nothing at ${method} ${path.slice(0, 200)}`);
    const allowed = [...new Set(methods.flatMap((one) => (one === "GET" ? ["GET", "HEAD"] : [one]))), "OPTIONS"];
    const headers = { Allow: allowed.join(", ") };
    if (method === "OPTIONS") return c.body(null, 204, headers);
    throw new ApiError(405, `${path.slice(0, 200)} allows ${allowed.slice(0, -1).join(" and ")}, got ${method}`, {
      code: "method_not_allowed",
      headers,
    });
  };
}

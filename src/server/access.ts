/** Who may ask: which hosts the server answers to, and which other sites' pages. */

import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { ApiError } from "./errors.ts";

const loopbackName = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

export const isLoopback = (host: string): boolean => loopbackName.test(host.includes(":") ? `[${host}]` : host);

/**
 * A page elsewhere can give its own name the address 127.0.0.1 and then ask as if it came from here, so that on loopback
 * only loopback's own names are answered.
 */
export const onlyLoopbackNames: MiddlewareHandler = async ({ req }, next) => {
  const host = req.header("host") ?? new URL(req.url).host;
  const name = host.replace(/:\d*$/, "").toLowerCase();
  if (!loopbackName.test(name))
    throw new ApiError(
      403,
      `the server answers to localhost and its addresses only, got the host ${JSON.stringify(host)}`,
      {
        code: "wrong_host",
      },
    );
  await next();
};

/** Pages of other origins are refused, but for those that were named; "*" names all. */
export function onlyOwnPages(origins: readonly string[]): MiddlewareHandler {
  const allowed = (origin: string) => origins.includes("*") || origins.includes(origin);
  const shared = cors({
    origin: (origin) => (allowed(origin) ? origin : null),
    exposeHeaders: ["Retry-After", "Location"],
    maxAge: 600,
  });
  return async (c, next) => {
    const origin = c.req.header("origin");
    if (origin === undefined) return next();
    const host = c.req.header("host") ?? new URL(c.req.url).host;
    if (origin === `http://${host}` || origin === `https://${host}`) return next();
    if (!allowed(origin))
      throw new ApiError(
        403,
        `pages of ${JSON.stringify(origin)} may not ask this server; whoever runs it can allow their origin`,
        { code: "wrong_origin" },
      );
    return shared(c, next);
  };
}

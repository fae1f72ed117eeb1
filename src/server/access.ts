/** Who may ask: which names the server answers to, which other sites' pages, and with which key. */

import { createHash, timingSafeEqual } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { UserError, worded, type Wording } from "../core/errors.ts";
import { shown } from "../core/text.ts";
import { ApiError, fieldWording } from "./errors.ts";

const loopbackName = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

export const isLoopback = (host: string): boolean => loopbackName.test(host.includes(":") ? `[${host}]` : host);

export interface AccessOptions {
  /** Whether the server listens on loopback, where it answers to loopback's names only. */
  loopback?: boolean;
  /** Other names that it answers to, such as a proxy's; where there are any, no others on other addresses either. */
  names?: readonly string[];
  /** Whether a proxy in front says in X-Forwarded-Host which name was asked for. Anybody else could say so, too. */
  behindProxy?: boolean;
  /** How refusals name what would allow a host or an origin. */
  wording?: Wording;
}

/** The name in a Host header or an option, without a port: lower case, no dot at the end. */
const nameIn = (host: string): string =>
  host
    .trim()
    .replace(/:\d*$/, "")
    .toLowerCase()
    .replace(/(?<=[^.])\.$/, "");

/** The hosts that a request was sent to: to this server, and before that to a trusted proxy. The last is what the client sees. */
function hostsOf({ req }: Context, { behindProxy = false }: AccessOptions): string[] {
  const own = req.header("host") ?? new URL(req.url).host;
  const forwarded = behindProxy ? req.header("x-forwarded-host")?.split(",")[0].trim() : undefined;
  return forwarded ? [own, forwarded] : [own];
}

/**
 * A page elsewhere can give its own name the address 127.0.0.1 and then ask as if it came from here (DNS rebinding), so
 * on loopback only loopback's own names are answered, and those that were allowed.
 */
export function onlyKnownNames(options: AccessOptions): MiddlewareHandler {
  const { loopback = false, names = [], wording = fieldWording } = options;
  const allowed = new Set(names.map(hostName));
  return async (c, next) => {
    if (loopback || allowed.size > 0)
      for (const host of hostsOf(c, options)) {
        const name = nameIn(host);
        if (loopbackName.test(name) || allowed.has(name)) continue;
        const mistake = {
          problem: `the server answers to ${["localhost and its addresses", ...allowed].join(", ")} only`,
          got: `the host "${shown(host)}"`,
          hint: { do: "whoever runs it can allow this name", setting: "allowHost", value: shown(name) },
        };
        throw new ApiError(403, worded(mistake, wording), { code: "wrong_host" });
      }
    await next();
  };
}

/** A name to answer to, as requests have it; a UserError for what no Host header can be. */
export function hostName(text: string): string {
  const name = nameIn(text);
  const url = URL.canParse(`http://${name}`) ? new URL(`http://${name}`) : undefined;
  if (url?.host && url.pathname === "/" && !/[*@/?#\\\s]/.test(name)) return url.hostname;
  throw new UserError({
    subject: { setting: "allowHost" },
    expected: "the name of a host, such as images.example.org, each by itself and without a path",
    got: `"${shown(text)}"`,
  });
}

/** An origin as browsers send it, or "*" for all; a UserError for what no browser would send. */
export function originIn(text: string): string {
  const given = text.trim();
  if (given === "*") return given;
  const [, scheme, rest] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#\\@\s*]+)\/?$/i.exec(given) ?? [];
  const url = scheme && URL.canParse(given) ? new URL(given) : undefined;
  if (url?.host) return url.origin === "null" ? `${scheme.toLowerCase()}://${rest.toLowerCase()}` : url.origin;
  const near = URL.canParse(given) && new URL(given).origin !== "null" ? new URL(given).origin : undefined;
  const bare = near ?? (/^[\w.-]+(:\d+)?\/?$/.test(given) ? `https://${given.replace("/", "")}` : undefined);
  throw new UserError({
    subject: { setting: "cors" },
    expected: "an origin, which is a scheme, a host and maybe a port, or * for all",
    got: `"${shown(text)}"`,
    hint: bare && !bare.includes("*") ? `did you mean ${bare}?` : "for example https://example.org",
  });
}

/** Pages of other origins are refused, but for those that were named; "*" names all. */
export function onlyOwnPages(origins: readonly string[], options: AccessOptions): MiddlewareHandler {
  const named = new Set(origins.map(originIn));
  const allowed = (origin: string) => named.has("*") || named.has(origin);
  const shared = cors({
    origin: (origin) => (allowed(origin) ? origin : null),
    exposeHeaders: ["Retry-After", "Location"],
    maxAge: 600,
  });
  return async (c, next) => {
    const origin = c.req.header("origin");
    if (origin === undefined) return next();
    const host = hostsOf(c, options).at(-1)!;
    if (origin === `http://${host}` || origin === `https://${host}`) return next();
    if (!allowed(origin)) {
      const problem = `pages of "${shown(origin)}" may not ask this server`;
      const hint = { do: "whoever runs it can allow their origin", setting: "cors", value: shown(origin) };
      throw new ApiError(403, worded({ problem, hint }, options.wording ?? fieldWording), { code: "wrong_origin" });
    }
    return shared(c, next);
  };
}

/** Open without the key, for what watches over servers: it says whether this one takes requests. */
const open = new Set(["/healthz"]);

/**
 * Asks for the key: programs send it as a bearer token; a browser asks its user for it as a password, with any user name,
 * and sends it with everything that the studio's page loads.
 */
export function onlyWithKey(key: string): MiddlewareHandler {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const expected = digest(key);
  return async (c, next) => {
    if (open.has(c.req.path)) return next();
    const given = keyIn(c.req.header("authorization") ?? "");
    // Digests are of one length, so the comparison takes the same time whatever was sent.
    if (given !== undefined && timingSafeEqual(digest(given), expected)) return next();
    const challenge = c.req.path.startsWith("/v1/")
      ? "Bearer"
      : 'Basic realm="fractalgen: any name, the key as password"';
    throw new ApiError(
      401,
      given === undefined
        ? "this server wants a key: send it as Authorization: Bearer KEY"
        : "the key is not that of this server",
      { code: "invalid_api_key", headers: { "WWW-Authenticate": challenge } },
    );
  };
}

function keyIn(authorization: string): string | undefined {
  const [, scheme, value] = /^(bearer|basic) +(\S+) *$/i.exec(authorization) ?? [];
  if (value === undefined) return undefined;
  if (scheme.toLowerCase() === "bearer") return value;
  return Buffer.from(value, "base64")
    .toString()
    .replace(/^[^:]*:/, "");
}

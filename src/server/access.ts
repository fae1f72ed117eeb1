/** Access control: which host names the server answers to, which origins may call it, and the API key. */

import { createHash, timingSafeEqual } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { UserError, worded, type Wording } from "../core/errors.ts";
import { shown } from "../core/text.ts";
import { ApiError, fieldWording } from "./errors.ts";

const loopbackName = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

export const isLoopback = (host: string): boolean => loopbackName.test(host.includes(":") ? `[${host}]` : host);

export interface AccessOptions {
  /** Whether the server listens on a loopback address. If so, it answers only to loopback names and to `names`. */
  loopback?: boolean;
  /** Further host names to answer to, such as a proxy's. If there are any, all others are refused on every address. */
  names?: readonly string[];
  /** Whether to trust X-Forwarded-Host. Set this only behind a proxy, because any client can send the header. */
  behindProxy?: boolean;
  /** How error messages name the setting that would allow a host or an origin. */
  wording?: Wording;
}

/** The host name in a Host header or an option: lower case, without the port and without a trailing dot. */
const nameIn = (host: string): string =>
  host
    .trim()
    .replace(/:\d*$/, "")
    .toLowerCase()
    .replace(/(?<=[^.])\.$/, "");

/** The hosts a request was addressed to: this server's, then the trusted proxy's if any. The last is the one the client used. */
function hostsOf({ req }: Context, { behindProxy = false }: AccessOptions): string[] {
  const own = req.header("host") ?? new URL(req.url).host;
  const forwarded = behindProxy ? req.header("x-forwarded-host")?.split(",")[0].trim() : undefined;
  return forwarded ? [own, forwarded] : [own];
}

/**
 * Refuses requests for unknown host names. A page elsewhere can point its own name at 127.0.0.1 and then call this server
 * as if it were same-origin (DNS rebinding), so on loopback only loopback names and the allowed names are answered.
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
          problem: `this server answers only to ${["localhost and its addresses", ...allowed].join(", ")}`,
          got: `the host "${shown(host)}"`,
          hint: { do: "the server's operator can allow this name", setting: "allowHost", value: shown(name) },
        };
        throw new ApiError(403, worded(mistake, wording), { code: "wrong_host" });
      }
    await next();
  };
}

/** Normalizes a host name from an option to the form in a Host header. Throws a `UserError` if no Host header could match. */
export function hostName(text: string): string {
  const name = nameIn(text);
  const url = URL.canParse(`http://${name}`) ? new URL(`http://${name}`) : undefined;
  if (url?.host && url.pathname === "/" && !/[*@/?#\\\s]/.test(name)) return url.hostname;
  throw new UserError({
    subject: { setting: "allowHost" },
    expected: "the name of a host, such as images.example.org, without a path; repeat the option for several",
    got: `"${shown(text)}"`,
  });
}

/** Normalizes an origin to the form browsers send; "*" stands for all. Throws a `UserError` for anything browsers never send. */
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
    expected: "an origin (a scheme, a host and an optional port), or * for all",
    got: `"${shown(text)}"`,
    hint: bare && !bare.includes("*") ? `did you mean ${bare}?` : "for example https://example.org",
  });
}

/** Refuses requests from pages of other origins, except the allowed ones. "*" allows all. */
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
      const problem = `pages from "${shown(origin)}" may not call this server`;
      const hint = { do: "the server's operator can allow this origin", setting: "cors", value: shown(origin) };
      throw new ApiError(403, worded({ problem, hint }, options.wording ?? fieldWording), { code: "wrong_origin" });
    }
    return shared(c, next);
  };
}

/** Needs no key, so that monitoring can check whether the server accepts requests. */
const open = new Set(["/healthz"]);

/**
 * Requires the API key. Programs send it as a bearer token. A browser prompts for it as a password (any user name works)
 * and then sends it with every request of the studio page.
 */
export function onlyWithKey(key: string): MiddlewareHandler {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const expected = digest(key);
  return async (c, next) => {
    if (open.has(c.req.path)) return next();
    const given = keyIn(c.req.header("authorization") ?? "");
    // Digests have equal lengths, so the comparison takes the same time for any input.
    if (given !== undefined && timingSafeEqual(digest(given), expected)) return next();
    const challenge = c.req.path.startsWith("/v1/")
      ? "Bearer"
      : 'Basic realm="fractalgen: any name, the key as password"';
    throw new ApiError(
      401,
      given === undefined
        ? "this server requires an API key; send it as Authorization: Bearer KEY"
        : "the API key is wrong",
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

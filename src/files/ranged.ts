/** One request for a file from some byte on, and whether the answer is what was asked for. Knows nothing of the disk. */

import { UserError } from "../core/errors.ts";
import type { PartialState } from "./partial.ts";

/** An answer that may be another at the next attempt. */
export class Interrupted extends Error {
  override name = "Interrupted";
  /** How long the server wants to be left alone. */
  readonly waitMs: number | undefined;
  /** What has come so far is no part of what the server has now. */
  readonly startOver: boolean;
  /** No connection came about, for a reason that seldom mends itself within seconds. */
  readonly unreachable: boolean;
  constructor(reason: string, { waitMs, startOver = false, unreachable = false }: Partial<Interrupted> = {}) {
    super(reason);
    this.waitMs = waitMs;
    this.startOver = startOver;
    this.unreachable = unreachable;
  }
}

export interface Answer {
  /** The byte of the file that the body begins with: the one asked for, or 0. */
  from: number;
  state: PartialState;
  /** Throws an Interrupted where the connection ends before the body does, or nothing comes for too long. */
  body: AsyncIterable<Uint8Array>;
  /** Ends the connection, whether or not the body has been read. */
  close(): void;
}

export interface RangeOptions {
  /** The first byte wanted; above 0 only with the state of what has come before. */
  from: number;
  state?: PartialState;
  headers?: Record<string, string>;
  /** Begins the sentences about what the server refuses, and ends them. */
  subject?: string;
  hint?: string;
  stallMs: number;
  signal?: AbortSignal;
}

/** Longer than this, the user decides whether to wait. */
const longestWaitMs = 120_000;

/** A UserError where the server refuses for good, an Interrupted where another attempt may help. */
export async function requestFrom(
  url: string,
  { from, state, headers, subject = url, hint = "check the address", stallMs, signal }: RangeOptions,
): Promise<Answer> {
  const stall = new AbortController();
  const watch = watchdog(stall, stallMs);
  const close = () => {
    watch.stop();
    stall.abort();
  };
  const stopped = (error: unknown) => {
    watch.stop();
    signal?.throwIfAborted();
    return stall.signal.aborted ? new Interrupted(`nothing came for ${stallMs / 1000} s`) : unconnected(url, error);
  };
  // Dates serve as If-Range too, and weak entity tags don't (RFC 9110, 13.1.5).
  const condition = state?.etag?.startsWith('"') ? state.etag : state?.lastModified;
  const response = await fetch(url, {
    headers: {
      "user-agent": "fractalgen",
      // Ranges count the bytes as they are sent, so they must not be compressed.
      "accept-encoding": "identity",
      ...headers,
      ...(from > 0 && { range: `bytes=${from}-` }),
      ...(from > 0 && condition && { "if-range": condition }),
    },
    signal: signal ? AbortSignal.any([signal, stall.signal]) : stall.signal,
  }).catch((error: unknown) => {
    throw stopped(error);
  });
  try {
    refuse(response, { url, subject, hint });
    const answer = from > 0 ? continuation(response, { url, from, state }) : beginning(response, url);
    watch.stop();
    return { ...answer, body: watched(response, { watch, stopped }), close };
  } catch (error) {
    close();
    throw error;
  }
}

async function* watched(
  response: Response,
  { watch, stopped }: { watch: ReturnType<typeof watchdog>; stopped: (error: unknown) => unknown },
): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  try {
    for (;;) {
      watch.start();
      const next = await reader?.read().catch((error: unknown) => {
        throw stopped(error);
      });
      // Whoever takes the bytes may be slow; only the server is timed.
      watch.stop();
      if (!next || next.done) return;
      yield next.value;
    }
  } finally {
    watch.stop();
    await reader?.cancel().catch(() => {});
  }
}

function watchdog(controller: AbortController, ms: number) {
  let timer = setTimeout(() => controller.abort(), ms);
  return {
    start() {
      clearTimeout(timer);
      timer = setTimeout(() => controller.abort(), ms);
    },
    stop: () => clearTimeout(timer),
  };
}

function refuse({ status, headers, url: reached }: Response, at: { url: string; subject: string; hint: string }): void {
  if (at.url.startsWith("https:") && !reached.startsWith("https:"))
    throw new UserError(
      `${at.subject}: the server leads on to ${reached}, where nothing is encrypted; use another source`,
    );
  if (status === 200 || status === 206 || status === 416) return;
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const waitMs = retryAfter(headers.get("retry-after"));
    if (waitMs !== undefined && waitMs > longestWaitMs)
      throw new UserError(
        `${at.subject}: the server answers ${described(status)} and asks to wait ${Math.ceil(waitMs / 60_000)} min; run the same command after that`,
      );
    throw new Interrupted(`the server answers ${described(status)}`, { waitMs });
  }
  throw new UserError(`${at.subject}: the server answers ${described(status)}; ${at.hint}`);
}

const meanings: Record<number, string> = {
  401: "needs a login",
  403: "not allowed",
  404: "not found",
  410: "no longer there",
  429: "too many requests",
  500: "a fault of its own",
  503: "overloaded",
};

const described = (status: number): string => (meanings[status] ? `${status} (${meanings[status]})` : `${status}`);

/** Seconds or a date, in milliseconds from now. */
function retryAfter(text: string | null): number | undefined {
  if (text === null) return undefined;
  const ms = /^\s*\d+\s*$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function beginning(response: Response, url: string): Pick<Answer, "from" | "state"> {
  if (response.status !== 200)
    throw new Interrupted(`the server answers ${response.status} where nothing but the whole file was asked for`);
  return { from: 0, state: stateOf(response, url) };
}

/** The rest, if it is a rest of the same file; else the whole file, if that is what came. */
function continuation(
  response: Response,
  { url, from, state }: { url: string; from: number; state?: PartialState },
): Pick<Answer, "from" | "state"> {
  if (response.status === 200) return beginning(response, url);
  const startOver = (reason: string) => new Interrupted(reason, { startOver: true });
  if (response.status === 416) throw startOver("the server has no bytes where the rest should be");
  const now = stateOf(response, url);
  const [, first, size] = /^bytes (\d+)-\d+\/(\d+|\*)$/i.exec(response.headers.get("content-range") ?? "") ?? [];
  const total = size === undefined || size === "*" ? state?.total : Number(size);
  if (Number(first) !== from || encodingOf(response))
    throw startOver("the server sent another part than the one asked for");
  const differs = <T>(before?: T, after?: T) => before !== undefined && after !== undefined && before !== after;
  if (
    differs(state?.total, total) ||
    differs(state?.etag, now.etag) ||
    (state?.etag === undefined && differs(state?.lastModified, now.lastModified))
  )
    throw startOver("the file has changed on the server");
  return { from, state: { ...now, ...state, ...(total !== undefined && { total }) } };
}

function stateOf(response: Response, url: string): PartialState {
  const { headers } = response;
  const encoding = encodingOf(response);
  // What fetch unpacks on its own accord; the length is then that of the packed bytes.
  if (encoding && !["gzip", "x-gzip", "deflate", "br"].includes(encoding))
    throw new UserError(`${url}: the server sends the file packed as "${encoding}", which was not asked for`);
  const length = headers.get("content-length");
  const whole = response.status === 200 && !encoding && length !== null && /^\d+$/.test(length);
  return {
    url,
    ...(whole && { total: Number(length) }),
    ...(headers.has("etag") && { etag: headers.get("etag")! }),
    ...(headers.has("last-modified") && { lastModified: headers.get("last-modified")! }),
  };
}

function encodingOf({ headers }: Response): string | undefined {
  const encoding = headers.get("content-encoding")?.trim().toLowerCase();
  return encoding === "identity" ? undefined : encoding || undefined;
}

/** fetch says only "fetch failed" or "terminated"; its cause has the reason. */
function unconnected(url: string, error: unknown): Error {
  if (!(error instanceof Error)) return new Interrupted(String(error));
  const { cause } = error;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const detail = cause instanceof Error && cause.message ? cause.message : error.message;
  const { host } = new URL(url);
  if (/^(ENOTFOUND|EAI_AGAIN)$/.test(code))
    return new Interrupted(`there is no way to the host ${host} (${code})`, { unreachable: true });
  if (/^(ECONNREFUSED|ENETUNREACH|EHOSTUNREACH)$/.test(code))
    return new Interrupted(`the host ${host} takes no connections (${code})`, { unreachable: true });
  if (/CERT|TLS|SSL|SIGNED|redirect|scheme|bad port|credentials/i.test(`${code} ${detail}`))
    return new UserError(`${url}: the connection failed: ${detail}; check the address`, { cause: error });
  return new Interrupted(`the connection was cut (${code || detail})`);
}

/** Requests a file from a given byte on and validates the answer. Knows nothing of the disk. */

import { UserError } from "../core/errors.ts";
import type { PartialState } from "./partial.ts";

/** A failure that another attempt may resolve. */
export class Interrupted extends Error {
  override name = "Interrupted";
  /** How long the server asks to wait, in milliseconds. */
  readonly waitMs: number | undefined;
  /** The bytes received so far do not belong to the server's current file. */
  readonly startOver: boolean;
  /** No connection could be made, for a reason that rarely goes away within seconds. */
  readonly unreachable: boolean;
  constructor(reason: string, { waitMs, startOver = false, unreachable = false }: Partial<Interrupted> = {}) {
    super(reason);
    this.waitMs = waitMs;
    this.startOver = startOver;
    this.unreachable = unreachable;
  }
}

export interface RangeAnswer {
  /** The offset in the file of the body's first byte: the requested one, or 0. */
  from: number;
  state: PartialState;
  /** Throws Interrupted if the connection ends early or nothing arrives for too long. */
  body: AsyncIterable<Uint8Array>;
  /** Closes the connection, whether or not the body has been read. */
  close(): void;
}

export interface RangeOptions {
  /** The first byte to request; above 0 only together with the state of the earlier bytes. */
  from: number;
  state?: PartialState;
  headers?: Record<string, string>;
  /** `subject` begins the messages about a refusal, `hint` ends them. */
  subject?: string;
  hint?: string;
  stallMs: number;
  signal?: AbortSignal;
}

const checkAddress = "check the address";
const otherSource = "use another source";

/** For a longer wait, stop and let the user decide. */
const longestWaitMs = 120_000;

/** Throws a UserError if the server refuses permanently, and Interrupted if another attempt may help. */
export async function requestFrom(
  url: string,
  { from, state, headers, subject = url, hint = checkAddress, stallMs, signal }: RangeOptions,
): Promise<RangeAnswer> {
  const stall = new AbortController();
  const watch = watchdog(stall, stallMs);
  const close = () => {
    watch.stop();
    stall.abort();
  };
  const stopped = (error: unknown) => {
    watch.stop();
    signal?.throwIfAborted();
    return stall.signal.aborted
      ? new Interrupted(`the server sent nothing for ${stallMs / 1000} s`)
      : unconnected(url, error);
  };
  // If-Range accepts dates, but not weak entity tags (RFC 9110, 13.1.5).
  const condition = state?.etag?.startsWith('"') ? state.etag : state?.lastModified;
  const response = await fetch(url, {
    headers: {
      "user-agent": "fractalgen",
      // Ranges count bytes as sent, so the answer must not be compressed.
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
      // The consumer may be slow; only the server is timed.
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

function refuse(
  { status, headers, url: reached }: Response,
  { url, subject, hint }: { url: string; subject: string; hint: string },
): void {
  if (url.startsWith("https:") && !reached.startsWith("https:"))
    throw new UserError({
      subject,
      problem: `the server redirects to the unencrypted address ${reached}`,
      hint: otherSource,
    });
  if (status === 200 || status === 206 || status === 416) return;
  const problem = `the server answered ${described(status)}`;
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const waitMs = retryAfter(headers.get("retry-after"));
    if (waitMs !== undefined && waitMs > longestWaitMs)
      throw new UserError({
        subject,
        problem: `${problem} and asks to wait ${Math.ceil(waitMs / 60_000)} min`,
        hint: "run the same command after that",
      });
    throw new Interrupted(problem, { waitMs });
  }
  throw new UserError({ subject, problem, hint });
}

const meanings: Record<number, string> = {
  401: "login required",
  403: "forbidden",
  404: "not found",
  410: "gone",
  429: "too many requests",
  500: "internal error",
  503: "unavailable",
};

const described = (status: number): string => (meanings[status] ? `${status} (${meanings[status]})` : `${status}`);

/** Converts seconds or a date to milliseconds from now. */
function retryAfter(text: string | null): number | undefined {
  if (text === null) return undefined;
  const ms = /^\s*\d+\s*$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function beginning(response: Response, url: string): Pick<RangeAnswer, "from" | "state"> {
  if (response.status !== 200)
    throw new Interrupted(`the server answered ${response.status} to a request for the whole file, expected 200`);
  return { from: 0, state: stateOf(response, url) };
}

/** The rest of the file, if it belongs to the same file, or the whole file if the server sent that. */
function continuation(
  response: Response,
  { url, from, state }: { url: string; from: number; state?: PartialState },
): Pick<RangeAnswer, "from" | "state"> {
  if (response.status === 200) return beginning(response, url);
  const startOver = (reason: string) => new Interrupted(reason, { startOver: true });
  if (response.status === 416) throw startOver("the server has no bytes after those already downloaded");
  const now = stateOf(response, url);
  const [, first, size] = /^bytes (\d+)-\d+\/(\d+|\*)$/i.exec(response.headers.get("content-range") ?? "") ?? [];
  const total = size === undefined || size === "*" ? state?.total : Number(size);
  if (Number(first) !== from || encodingOf(response))
    throw startOver("the server sent a different part than the one requested");
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
  // These are the encodings that fetch decodes automatically; content-length then counts the compressed bytes.
  if (encoding && !["gzip", "x-gzip", "deflate", "br"].includes(encoding))
    throw new UserError({
      subject: url,
      problem: `the server sent the file with the content encoding "${encoding}", which is not supported`,
      hint: otherSource,
    });
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

/** fetch reports only "fetch failed" or "terminated"; the reason is in its cause. */
function unconnected(url: string, error: unknown): Error {
  if (!(error instanceof Error)) return new Interrupted(String(error));
  const { cause } = error;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const detail = cause instanceof Error && cause.message ? cause.message : error.message;
  const { host } = new URL(url);
  if (/^(ENOTFOUND|EAI_AGAIN)$/.test(code))
    return new Interrupted(`the host ${host} could not be found (${code})`, { unreachable: true });
  if (/^(ECONNREFUSED|ENETUNREACH|EHOSTUNREACH)$/.test(code))
    return new Interrupted(`the host ${host} accepts no connections (${code})`, { unreachable: true });
  if (/CERT|TLS|SSL|SIGNED|redirect|scheme|bad port|credentials/i.test(`${code} ${detail}`))
    return new UserError(
      { subject: url, problem: `the connection failed: ${detail}`, hint: checkAddress },
      { cause: error },
    );
  return new Interrupted(`the connection was lost (${code || detail})`);
}

/** The connection to Redis. If it is lost, it logs a line and reconnects. */

import type { Redis } from "ioredis";
import { UserError } from "../core/errors.ts";
import type { QueueAddress } from "./address.ts";

/** An open connection. */
export interface QueueConnection {
  client: Redis;
  close(): void;
}

interface ConnectionOptions {
  /** Called with a line for the user: the connection was lost or restored, or Redis may drop jobs. */
  onNote?: (line: string) => void;
  signal?: AbortSignal;
  /** How long to wait for the first connection. */
  firstMs?: number;
}

/** Pending commands are sent after reconnecting; none is dropped. */
const retryMs = (times: number): number => Math.min(2000, 100 * times);

/** Connects. Throws a UserError if Redis does not answer within 20 seconds, or refuses the password. */
export async function openConnection(
  address: QueueAddress,
  { onNote = () => {}, signal, firstMs = 20_000 }: ConnectionOptions = {},
): Promise<QueueConnection> {
  const { Redis } = await import("ioredis");
  const { name, ...options } = address;
  const client = new Redis({ ...options, maxRetriesPerRequest: null, retryStrategy: retryMs });
  let state: "opening" | "here" | "away" | "closed" = "opening";
  let reason = "no answer";
  client.on("error", (error: NodeJS.ErrnoException) => (reason = error.code ?? error.message));
  client.on("close", () => {
    if (state !== "here") return;
    state = "away";
    onNote(`lost the connection to Redis at ${name}; reconnecting`);
  });
  client.on("ready", () => {
    if (state === "away") onNote(`reconnected to Redis at ${name}`);
    if (state !== "closed") state = "here";
  });
  const close = () => {
    state = "closed";
    client.disconnect();
  };
  try {
    await firstAnswer(client, { firstMs, signal });
    await warnOfEviction(client, name, onNote);
  } catch (error) {
    close();
    signal?.throwIfAborted();
    throw refused(address, error, reason);
  }
  return { client, close };
}

/** Resolves with the first answer. Rejects on refused passwords and TLS errors, which would otherwise be retried forever. */
function firstAnswer(client: Redis, { firstMs, signal }: { firstMs: number; signal?: AbortSignal }): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("no answer")), firstMs);
    const stop = () => reject(new Error("stopped"));
    const settle = (end: () => void) => {
      clearTimeout(late);
      signal?.removeEventListener("abort", stop);
      end();
    };
    signal?.addEventListener("abort", stop);
    client.on("error", (error) => (isRefusal(error) || tlsFault(error)) && settle(() => reject(error)));
    client.ping().then(
      () => settle(resolve),
      (error: unknown) => settle(() => reject(error as Error)),
    );
  });
}

const isRefusal = ({ message }: Error): boolean =>
  /NOAUTH|WRONGPASS|NOPERM|invalid.*password|invalid DB/i.test(message);

/** TLS errors that recur at every attempt, and how to fix them. */
const tlsFaults: readonly { codes: RegExp; problem: string; hint: string }[] = [
  {
    codes: /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_)/,
    problem: "has a certificate from an unknown authority",
    hint: "set the environment variable NODE_EXTRA_CA_CERTS to the file with the authority's certificate",
  },
  {
    codes: /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    problem: "has a certificate for another host name",
    hint: "put the name in the certificate into the URL",
  },
  {
    codes: /^(CERT_|ERR_TLS_)/,
    problem: "has a certificate that is not valid",
    hint: "renew it, and check the clocks of both machines",
  },
  {
    codes: /^(EPROTO|ERR_SSL_)/,
    problem: "does not speak TLS at this port",
    hint: "use its TLS port, or a URL with redis:// instead of rediss://",
  },
];

const tlsFault = ({ code = "" }: NodeJS.ErrnoException) => tlsFaults.find(({ codes }) => codes.test(code));

/** The error messages of Redis contain no secrets. */
function refused({ name, tls }: QueueAddress, error: unknown, reason: string): UserError {
  const { message } = error as Error;
  const fault = tlsFault(error as Error);
  if (fault)
    return new UserError({
      subject: { setting: "queue" },
      problem: `Redis at ${name} ${fault.problem} (${(error as NodeJS.ErrnoException).code})`,
      hint: fault.hint,
    });
  if (isRefusal(error as Error))
    return new UserError({
      subject: { setting: "queue" },
      problem: `Redis at ${name} refused the connection (${message})`,
      hint: "put the right user, password and database into the URL, redis://user:password@host:6379/0",
    });
  return new UserError({
    subject: { setting: "queue" },
    problem: `Redis at ${name} does not answer (${reason})`,
    hint: [
      "start it",
      tls ? "use a redis:// URL if it does not use TLS" : "use a rediss:// URL if it uses TLS",
      "correct the URL",
    ],
  });
}

/** With another policy, Redis silently drops jobs when its memory is full. */
async function warnOfEviction(client: Redis, name: string, onNote: (line: string) => void): Promise<void> {
  const policy = /maxmemory_policy:(\S+)/.exec(await client.info("memory").catch(() => ""))?.[1];
  if (policy !== undefined && policy !== "noeviction")
    onNote(
      `Redis at ${name} has the maxmemory-policy ${policy}, which can drop jobs when memory is full; set it to noeviction`,
    );
}

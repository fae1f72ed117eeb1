/** The connection to Redis. If it is lost, it logs a line and reconnects. */

import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import { UserError } from "../core/errors.ts";
import type { QueueAddress } from "./address.ts";
import { explainedReply, isRefusal, isReply } from "./replies.ts";

/** An open connection. */
export interface QueueConnection {
  client: Redis;
  /** Waits for work that needs Redis, but no longer than Redis is there, nor than `ms` milliseconds. Its errors are ignored. */
  whileHere(work: Promise<unknown>, ms: number): Promise<void>;
  /** Ends the connection and its duplicates, also while Redis is away. What waits for an answer fails. */
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
  signal?.throwIfAborted();
  const { name, ...options } = address;
  let state: "opening" | "here" | "away" | "closed" = "opening";
  const retryStrategy = (times: number) => (state === "closed" ? null : retryMs(times));
  const client = new Redis({ ...options, maxRetriesPerRequest: null, retryStrategy });
  // BullMQ makes duplicates to wait on, and leaves them trying for ever.
  const clients = [client];
  const duplicate = client.duplicate.bind(client);
  client.duplicate = (...given) => {
    const copy = duplicate(...given);
    copy.on("error", () => {}); // this connection tells
    clients.push(copy);
    return copy;
  };
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
    for (const one of clients) disconnect(one);
  };
  const whileHere = async (work: Promise<unknown>, ms: number): Promise<void> => {
    const late = sleep(ms, undefined, { ref: false });
    const lost = client.status === "ready" && new Promise((resolve) => client.once("close", resolve));
    await Promise.race([work.catch(() => {}), lost, late]);
  };
  try {
    await firstAnswer(client, { firstMs, signal, check: () => checkServer(client, name, onNote) });
  } catch (error) {
    close();
    signal?.throwIfAborted();
    throw refused(address, error, reason);
  }
  return { client, whileHere, close };
}

/** Between two attempts to connect there is nothing to disconnect: the next one is made at once, and is the last. */
function disconnect(client: Redis): void {
  client.disconnect();
  if (client.status !== "reconnecting") return;
  client.once("connect", () => client.disconnect());
  client.connect().catch(() => {});
}

/** Resolves when Redis has answered and is checked. Rejects on refused passwords and TLS errors, which would otherwise be retried forever. */
function firstAnswer(
  client: Redis,
  { firstMs, signal, check }: { firstMs: number; signal?: AbortSignal; check: () => Promise<void> },
): Promise<void> {
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
    const checked = client.ping().then(check);
    checked.then(
      () => settle(resolve),
      (error: unknown) => settle(() => reject(error as Error)),
    );
  });
}

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
function refused({ name, tls }: QueueAddress, error: unknown, reason: string): unknown {
  if (error instanceof UserError || isReply(error)) return explainedReply(error, name);
  const fault = tlsFault(error as Error);
  if (fault)
    return new UserError({
      subject: { setting: "queue" },
      problem: `Redis at ${name} ${fault.problem} (${(error as NodeJS.ErrnoException).code})`,
      hint: fault.hint,
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

/** BullMQ needs Redis 5. With another policy than noeviction, Redis silently drops jobs when its memory is full. */
async function checkServer(client: Redis, name: string, onNote: (line: string) => void): Promise<void> {
  const info = await client.info().catch(() => "");
  const version = /redis_version:(\S+)/.exec(info)?.[1];
  if (version !== undefined && Number.parseInt(version) < 5)
    throw new UserError({
      subject: { setting: "queue" },
      problem: `Redis at ${name} has version ${version}, expected 5 or newer`,
      hint: "update it",
    });
  const policy = /maxmemory_policy:(\S+)/.exec(info)?.[1];
  if (policy !== undefined && policy !== "noeviction")
    onNote(
      `Redis at ${name} has the maxmemory-policy ${policy}, which can drop jobs when memory is full; set it to noeviction`,
    );
}

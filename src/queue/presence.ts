/** Presence: workers and commands send a heartbeat to Redis every few seconds and expire without one. */

import { cpus, hostname } from "node:os";
import type { Redis } from "ioredis";
import { z } from "zod";

const schema = z.object({
  name: z.string(),
  version: z.string(),
  device: z.string(),
  /** The kind of processors, such as x64, and their model. */
  arch: z.string().default("unknown"),
  cpu: z.string().default("unknown"),
});
/** A worker or a command, as shown to others. */
export type Presence = z.infer<typeof schema>;

export type Role = "worker" | "run";

/** This process as others see it. */
export const ownPresence = ({ version, device }: Pick<Presence, "version" | "device">): Presence => ({
  name: `${hostname()}:${process.pid}`,
  version,
  device,
  arch: process.arch,
  cpu: cpus()[0]?.model.trim() ?? "unknown",
});

const lifeSeconds = 30;
const tellMs = 5000;
const setKey = (role: Role) => `fractalgen:${role}s`;
const oneKey = (role: Role, id: string) => `fractalgen:${role}:${id}`;

/** Announces a worker or a command until `end` is called. */
export async function announce(
  client: Redis,
  role: Role,
  { id, ...presence }: Presence & { id: string },
): Promise<{ end(): Promise<void> }> {
  const tell = () =>
    client.multi().sadd(setKey(role), id).set(oneKey(role, id), JSON.stringify(presence), "EX", lifeSeconds).exec();
  await tell();
  const timer = setInterval(() => void tell().catch(() => {}), tellMs);
  return {
    async end() {
      clearInterval(timer);
      if (client.status === "ready") await client.multi().srem(setKey(role), id).del(oneKey(role, id)).exec();
    },
  };
}

/** The connected workers or commands. */
export async function present(client: Redis, role: Role): Promise<Presence[]> {
  const ids = await client.smembers(setKey(role));
  if (ids.length === 0) return [];
  const found = await client.mget(ids.map((id) => oneKey(role, id)));
  const gone = ids.filter((_, i) => found[i] === null);
  if (gone.length > 0) await client.srem(setKey(role), ...gone);
  return found.flatMap((text) => {
    const parsed = text === null ? undefined : schema.safeParse(JSON.parse(text));
    return parsed?.success ? [parsed.data] : [];
  });
}

/** Whether a command is still connected. */
export const isThere = async (client: Redis, run: string): Promise<boolean> =>
  (await client.exists(oneKey("run", run))) === 1;

/** Names in Redis. Each version and device has its own queue, so only workers of the same ones get a job. */

import type { Provider } from "../engine/engine.ts";

/** The prefix of all of BullMQ's keys. */
export const keyPrefix = "fractalgen";

export const queueName = ({ version, device }: { version: string; device: Provider }): string =>
  `fractalgen-${version}-${device}`;

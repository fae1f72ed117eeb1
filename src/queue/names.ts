/** Names in Redis. Commands and workers meet in a queue of their version and device, so no other ones get their jobs. */

import type { Provider } from "../engine/engine.ts";

/** The prefix of all of BullMQ's keys. */
export const keyPrefix = "fractalgen";

export const queueName = ({ version, device }: { version: string; device: Provider }): string =>
  `fractalgen-${version}-${device}`;

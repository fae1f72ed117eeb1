/** Several items at a time, in order, and nothing left running. */

import { setTimeout } from "node:timers/promises";
import { expect, it } from "vitest";
import { inOrder } from "./in-order.ts";

const collect = async <T>(stream: AsyncIterable<T>) => {
  const all: T[] = [];
  for await (const item of stream) all.push(item);
  return all;
};

it("yields results in order, however long each takes, and starts no more than allowed", async () => {
  let running = 0;
  let most = 0;
  const work = async (item: number) => {
    most = Math.max(most, ++running);
    await setTimeout(item % 3 === 0 ? 5 : 1);
    running--;
    return item * 2;
  };
  const items = Array.from({ length: 20 }, (_, i) => i);
  expect(await collect(inOrder(items, work, { ahead: 4 }))).toEqual(items.map((item) => item * 2));
  expect(most).toBe(4);
});

it("throws the error of the work after running work has finished", async () => {
  let running = 0;
  const work = async (item: number) => {
    running++;
    await setTimeout(item === 1 ? 1 : 10);
    running--;
    if (item === 1) throw new Error("one");
    return item;
  };
  await expect(collect(inOrder([0, 1, 2, 3, 4], work, { ahead: 3 }))).rejects.toThrow("one");
  expect(running).toBe(0);
});

it("stops work in progress when other work failed, and throws that work's error", async () => {
  const stopped: number[] = [];
  const work = (item: number, { signal }: { signal: AbortSignal }) =>
    item === 2
      ? Promise.reject(new Error("two"))
      : new Promise<number>((_, reject) => {
          signal.addEventListener("abort", () => {
            stopped.push(item);
            reject(signal.reason as Error);
          });
        });
  await expect(collect(inOrder([0, 1, 2, 3, 4, 5], work, { ahead: 4 }))).rejects.toThrow("two");
  expect(stopped.slice(0, 2)).toEqual([0, 1]);
});

it("stops on abort", async () => {
  const controller = new AbortController();
  const seen: number[] = [];
  const run = async () => {
    for await (const item of inOrder([0, 1, 2, 3, 4, 5], async (item) => item, {
      ahead: 1,
      signal: controller.signal,
    })) {
      seen.push(item);
      if (item === 2) controller.abort();
    }
  };
  await expect(run()).rejects.toThrow("aborted");
  expect(seen).toEqual([0, 1, 2]);
});

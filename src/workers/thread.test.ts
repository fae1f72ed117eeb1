/** A dead worker's owner learns how it died. */

import { execFileSync } from "node:child_process";
import { afterAll, expect, it } from "vitest";
import { ThreadError } from "./failure.ts";
import { startThread } from "./thread.ts";

const unheard: unknown[] = [];
const onUnheard = (reason: unknown) => void unheard.push(reason);
process.on("unhandledRejection", onUnheard);
afterAll(() => process.off("unhandledRejection", onUnheard));

async function dying(dies: string): Promise<ThreadError> {
  const thread = startThread<string, { ready: true }>(new URL("./test-lost-thread", import.meta.url), { dies });
  await thread.next();
  expect(thread.isOver()).toBe(false);
  thread.send("die");
  const error = (await thread.next().catch((error: unknown) => error)) as ThreadError;
  expect(error).toBeInstanceOf(ThreadError);
  if (dies === "fails") return error;
  await thread.ended();
  expect(thread.isOver()).toBe(true);
  // later calls throw the same error
  await expect(thread.next()).rejects.toBe(error);
  thread.send("too late");
  return error;
}

it("is lost by an uncaught error, and passes on the message and the stack", async () => {
  const error = await dying("throws");
  expect([error.message, error.lost]).toEqual(["a worker thread ended: nobody catches this", true]);
  expect((error.cause as Error).stack).toContain("test-lost-thread");
});

it("is lost by an exit", async () => {
  const { message, lost } = await dying("exits");
  expect([message, lost]).toEqual(["a worker thread ended: its exit code is 3", true]);
});

it("survives a failure that it reports; lack of memory is recognised", async () => {
  const { lost, outOfMemory, cause } = await dying("fails");
  expect([lost, outOfMemory]).toEqual([false, true]);
  expect((cause as Error).stack).toContain("test-lost-thread");
});

it("is lost when its memory runs out, and the process continues", () => {
  const code = `
    import { startThread } from ${JSON.stringify(new URL("thread.ts", import.meta.url).href)};
    const module = new URL(${JSON.stringify(new URL("test-lost-thread", import.meta.url).href)});
    const thread = startThread(module, { dies: "memory" });
    await thread.next();
    thread.send("die");
    const error = await thread.next().catch((error) => error);
    console.log(error.lost, error.outOfMemory);`;
  const options = ["--max-old-space-size=128", "--import", "tsx", "--input-type=module", "--eval", code];
  expect(execFileSync(process.execPath, options, { encoding: "utf8" })).toBe("true true\n");
});

it("leaves no unhandled rejection", () => expect(unheard).toEqual([]));

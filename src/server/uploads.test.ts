/** The memory of a server that gets many large bodies at once, measured from outside. */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defaultLimits } from "./schemas.ts";
import { thorough } from "../test-depth.ts";

const mb = (bytes: number) => Math.round(bytes / 1e6);
const uploads = Number(process.env["FRACTALGEN_TEST_UPLOADS"] ?? 24);
const bytes = 7.9e6;

let server: ChildProcess;
let url: URL;
const said = async <T>(): Promise<T> => (await once(server, "message"))[0] as T;
beforeAll(async () => {
  const program = fileURLToPath(new URL("test-server-process.ts", import.meta.url));
  server = fork(program, { execArgv: ["--import", "tsx", "--expose-gc"] });
  url = new URL(await said<string>());
}, 120_000);
afterAll(async () => {
  if (!server?.connected) return;
  server.disconnect();
  await once(server, "exit");
});

const memory = () => {
  server.send("memory");
  return said<NodeJS.MemoryUsage>();
};
const resident = () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))![1]) * 1024;

/** Sends a form whose picture is no picture, as fast as the server reads it. Resolves with the answer's status. */
const upload = () =>
  new Promise<number>((resolve, reject) => {
    const start = `--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n`;
    const end = "\r\n--x--\r\n";
    const socket = connect(Number(url.port), url.hostname);
    const head = [
      "POST /v1/images/edits HTTP/1.1",
      `Host: ${url.host}`,
      "Content-Type: multipart/form-data; boundary=x",
      `Content-Length: ${start.length + bytes + end.length}`,
    ];
    socket.on("error", reject);
    socket.once("data", (answer) => {
      socket.destroy();
      resolve(Number(String(answer).split(" ")[1]));
    });
    socket.write(`${head.join("\r\n")}\r\n\r\n${start}`);
    const part = Buffer.alloc(1e5, 1);
    let left = bytes;
    const send = () => {
      while (left > 0 && !socket.destroyed) {
        left -= part.length;
        if (!socket.write(part)) return;
      }
      if (left > -1) socket.write(end);
      left = -1;
    };
    socket.on("drain", send);
    send();
  });

describe.skipIf(process.platform !== "linux")("a server that gets bodies of megabytes", () => {
  it.runIf(thorough)("takes bounded memory, and keeps none of it", { timeout: 300_000 }, async () => {
    const before = await memory();
    const peaks: number[] = [];
    for (let round = 1; round <= 3; round++) {
      let peak = 0;
      const watch = setInterval(() => (peak = Math.max(peak, resident())), 20);
      const statuses = await Promise.all(Array.from({ length: uploads }, upload));
      clearInterval(watch);
      expect(new Set(statuses.filter((status) => status !== 400 && status !== 503))).toEqual(new Set());
      expect(statuses).toContain(400);
      peaks.push(peak);
      const last = await memory();
      console.log(
        `round ${round}: ${uploads} uploads of ${mb(bytes)} MB, at most ${mb(peak)} MB resident; afterwards ` +
          `${mb(last.rss)} MB resident, heap ${mb(last.heapUsed)} MB, buffers ${mb(last.arrayBuffers)} MB`,
      );
    }
    // Each body exists at most three times: as it arrives, in its parts, and joined.
    for (const peak of peaks) expect(mb(peak - before.rss)).toBeLessThan(mb(3 * defaultLimits.bodies) + 100);
    // Nothing is kept: what stays resident is memory that the allocator has not returned to the system.
    const kept = async () => {
      const now = await memory();
      return [mb(now.arrayBuffers - before.arrayBuffers) < 10, mb(now.heapUsed - before.heapUsed) < 20];
    };
    await expect.poll(kept, { timeout: 60_000, interval: 500 }).toEqual([true, true]);
    expect(mb(peaks[2])).toBeLessThan(mb(peaks[0]) + 100);
  });
});

/**
 * Requests designed to be slow, sent from a separate thread. None may block the server's event loop for more than 50 ms.
 * Measured in CPU time of this thread if the system reports it, because other processes may delay the thread.
 */

import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { deflateSync, gzipSync } from "node:zlib";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { imagenetClasses } from "../config/imagenet-classes.ts";
import { insertPngText } from "../pictures/pngtext.ts";
import type { Listening } from "./listen.ts";
import type { ServedModel } from "./models.ts";
import { listening } from "./test-client.ts";
import { gate, type TestModels, testModels, testServer } from "./test-models.ts";

const mostMs = 50;
const tries = 3;

const schedule = "/proc/thread-self/schedstat";
const measured = process.platform === "linux";
/** CPU time of this thread in milliseconds. */
const runTime = (): number =>
  measured ? Number(readFileSync(schedule, "utf8").split(" ")[0]) / 1e6 : performance.now();

let models: TestModels;
let at: Listening;
let client: Worker;
let pixel: Buffer;
const drawn = gate();
beforeAll(async () => {
  models = await testModels();
  const { tiny } = models;
  const many: ServedModel = { ...tiny, name: "many", config: { ...tiny.config, classes: [...imagenetClasses] } };
  // So little memory that the batch size for unusual settings must be computed.
  at = await listening(testServer([many, tiny], { open: drawn.open, memory: 5.2e8, batch: 4096 }));
  client = new Worker(
    `const { parentPort } = require("node:worker_threads");
    const net = require("node:net");
    parentPort.on("message", ({ port, head, body }) => {
      const socket = net.connect(port, "127.0.0.1");
      let answer = "";
      const done = () => { socket.destroy(); parentPort.postMessage(answer.slice(9, 12)); };
      socket.on("data", (data) => { answer += data.toString("latin1"); if (/\\r\\n\\r\\n/.test(answer)) done(); });
      socket.on("error", () => {});
      socket.on("close", () => answer || parentPort.postMessage(""));
      socket.write(head);
      socket.write(body);
    });`,
    { eval: true },
  );
  pixel = await sharp({ create: { width: 8, height: 8, channels: 4, background: { r: 1, g: 2, b: 3, alpha: 0 } } })
    .png()
    .toBuffer();
});
afterAll(async () => {
  await client.terminate();
  await at.close();
  models.remove();
});

interface Hostile {
  path?: string;
  method?: string;
  headers?: Record<string, string>;
  body: Buffer;
}

const json = (text: string): Hostile => ({ headers: { "Content-Type": "application/json" }, body: Buffer.from(text) });
const prompt = (text: string, more = {}) => json(JSON.stringify({ prompt: text, ...more }));
const form = (body: Buffer | string, boundary = "x"): Hostile => ({
  path: "/v1/images/edits",
  headers: { "Content-Type": `multipart/form-data; boundary=${boundary}` },
  body: Buffer.from(body),
});
const field = (name: string, value: string) =>
  `--x\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
const file = (name: string, data: Buffer) =>
  Buffer.concat([
    Buffer.from(`--x\r\nContent-Disposition: form-data; name="${name}"; filename="a.png"\r\n\r\n`),
    data,
    Buffer.from("\r\n"),
  ]);
const edit = (image: Buffer, more = "") =>
  form(
    Buffer.concat([
      Buffer.from(field("prompt", "3") + field("model", "tiny") + more),
      file("image", image),
      Buffer.from("--x--\r\n"),
    ]),
  );
const repeated = (count: number, text: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => text(i)).join("");

/** Measures the longest turn of the event loop in milliseconds. */
function longestTurn(): () => number {
  let [last, longest, going] = [runTime(), 0, true];
  const turn = () => {
    const now = runTime();
    longest = Math.max(longest, now - last);
    last = now;
    if (going) setImmediate(turn);
  };
  setImmediate(turn);
  return () => {
    going = false;
    return longest;
  };
}

/** Returns the longest turn of the event loop during the request, and the response's status. */
async function heldBy({ path = "/v1/images/generations", method = "POST", headers = {}, body }: Hostile) {
  const lines = Object.entries({ Host: "localhost", "Content-Length": String(body.length), ...headers });
  const head = `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
  const answer = new Promise<string>((resolve) => client.once("message", resolve)); // it may come at once
  client.postMessage({ port: Number(new URL(at.url).port), head, body });
  await new Promise((resolve) => setTimeout(resolve, 20)); // exclude the time to copy the message
  const longest = longestTurn();
  const going = setInterval(() => drawn.go(), 20);
  const status = await answer;
  await new Promise((resolve) => setTimeout(resolve, 30)); // let the last delay be measured
  clearInterval(going);
  return { ms: longest(), status: Number(status) };
}

const cases: Record<string, () => Hostile> = {
  "JSON with a key of 8 MB": () => json(`{"${"k".repeat(7.9e6)}": 1}`),
  "JSON with a key of 99 KB": () => json(`{"prompt": "1", "${"k".repeat(99_000)}": 1}`),
  "JSON with 15,000 keys": () => json(`{"prompt": "1"${repeated(15_000, (i) => `,"${i}":0`).slice(0, 99_000)}}`),
  "JSON of 8 MB with 900,000 keys": () => json(`{"prompt": "1"${repeated(900_000, (i) => `,"${i % 10}":0`)}}`),
  "JSON that is 49,000 lists deep": () => json(`{"prompt": ${"[".repeat(49_000)}${"]".repeat(49_000)}}`),
  "JSON that is 4,000,000 lists deep": () => json(`{"prompt": ${"[".repeat(3.9e6)}${"]".repeat(3.9e6)}}`),
  "JSON that is 16,000 objects deep": () => json(`${'{"a":'.repeat(16_000)}1${"}".repeat(16_000)}`),
  "a list of 49,000 numbers for iterations": () => json(`{"prompt": "1", "iterations": [1${",1".repeat(49_000)}]}`),
  "lists in lists for temperature": () => json(`{"prompt": "1", "temperature": [${"[1,2],".repeat(16_000)}1]}`),
  "a number of 99,000 digits": () => json(`{"prompt": "1", "seed": ${"9".repeat(99_000)}}`),
  "a string of 16,000 escapes": () => json(`{"prompt": "${"\\u0061".repeat(16_000)}"}`),
  "a prompt of 8 MB": () => prompt("cat ".repeat(1.9e6)),
  "a prompt of 100,000 commas": () => prompt(",".repeat(100_000)),
  "a prompt of 9,999 commas": () => prompt(",".repeat(9999)),
  "a prompt of 5,000 classes": () => prompt("1,".repeat(4999) + "1"),
  "a prompt of 1,600 long names": () => prompt(Array(600).fill("golden retriever").join().slice(0, 9999)),
  "a prompt with a name of 9,999 characters": () => prompt("tench or goldfish ".repeat(555)),
  "a prompt with a name that is nearly one of 1000": () => prompt("americn stafordshire terier, staffordshir terrier"),
  "a prompt with a name of 300 characters": () => prompt("great white shark, white shark man eater ".repeat(7)),
  "a prompt of brackets and stars": () => prompt("(a+)+*[".repeat(1400)),
  "a model whose name is long": () => prompt("1", { model: "mani".repeat(20_000) }),
  "sizes that are long": () => prompt("1", { size: "8x".repeat(45_000) }),
  "settings that were never counted": () =>
    prompt("1", {
      iterations: [1, 1 + Math.floor(Math.random() * 16)],
      guidance: 3,
      top_p: [0.5, 0.9, [0.1, 0.2, 0.3]].slice(0, 1),
    }),
  "a gzip bomb": () => ({
    ...json(""),
    headers: { "Content-Type": "application/json", "Content-Encoding": "gzip" },
    body: gzipSync(Buffer.alloc(60e6, "[")),
  }),
  "a form with 132,000 fields": () => form(`${repeated(132_000, (i) => field(`f${i}`, ""))}--x--\r\n`),
  "a form with 30,000 fields of one name": () => form(`${field("n", "1").repeat(30_000)}--x--\r\n`),
  "a form with 50,000 empty files": () => form(`${file("image", Buffer.alloc(0)).toString().repeat(50_000)}--x--\r\n`),
  "a form of 8 MB that nearly has boundaries": () => form(`--x\r\n${"\r\n--".repeat(1.9e6)}`),
  "a form of 8 MB that nearly has long boundaries": () =>
    form(`${`\r\n--${"a".repeat(69)}`.repeat(105_000)}`, "a".repeat(70)),
  "a form that never begins": () => form("\r\n".repeat(3.9e6)),
  "a form with a header of 8 MB": () => form(`--x\r\nContent-Disposition: form-data; name="${"n".repeat(7.9e6)}`),
  "a form with 300,000 headers": () => form(`--x\r\n${"A: b\r\n".repeat(300_000)}\r\n`),
  "a form with a field of 8 MB": () => form(`${field("prompt", "1".repeat(7.8e6))}--x--\r\n`),
  "a form with lists of commas": () => form(`${field("iterations", ",".repeat(32_000)).repeat(60)}--x--\r\n`),
  "a picture of 7.9 MB with most of it after the end of the image": () =>
    edit(Buffer.concat([pixel, Buffer.alloc(7.8e6)])),
  "a picture with 50,000 texts": () =>
    edit(
      Buffer.from(insertPngText(pixel, Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`k${i}`, "v"])))),
    ),
  "a picture that claims to be huge": () => {
    const huge = Buffer.from(pixel);
    huge.writeUInt32BE(2 ** 30, 16);
    return edit(Buffer.concat([huge, deflateSync(Buffer.alloc(1e6))]));
  },
  "a wide ring": () => edit(pixel, field("ring", "4096")),
  "a cookie of 15 KB": () => ({
    ...prompt("1x"),
    headers: { "Content-Type": "application/json", Cookie: "a=".repeat(7500) },
  }),
  "700 headers": () => ({
    ...prompt("1x"),
    headers: {
      "Content-Type": "application/json",
      ...Object.fromEntries(Array.from({ length: 700 }, (_, i) => [`X-${i}`, "y"])),
    },
  }),
  "a content type of 15 KB": () => ({
    ...form(""),
    headers: { "Content-Type": `multipart/form-data; ${"a=b; ".repeat(3000)}` },
  }),
  "an origin of 15 KB": () => ({ ...prompt("1x"), headers: { Origin: `http://${"a.".repeat(7000)}` } }),
  "a path of 15 KB": () => ({ path: `/v1/${"a/".repeat(7500)}`, body: Buffer.alloc(0) }),
  "a path of escapes": () => ({ path: `/v1/models/${"%61".repeat(5000)}`, method: "GET", body: Buffer.alloc(0) }),
};

describe("no request holds the event loop for 50 ms:", () => {
  it.each(Object.entries(cases))("%s", async (_, make) => {
    const hostile = make();
    let least = Infinity;
    for (let i = 0; i < tries && least > mostMs; i++) {
      const { ms, status } = await heldBy(hostile);
      expect(status).toBeLessThan(500);
      expect(status).toBeGreaterThan(0);
      least = Math.min(least, ms);
    }
    expect(least).toBeLessThanOrEqual(mostMs);
  });
});

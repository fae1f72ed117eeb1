/** The list of a server's models, whatever it contains. */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import type * as Models from "./models.ts";

const shipped = { name: "emoji", config: "models/config.json", weights: "models/model.safetensors", bytes: 10 };
let body = "";
let base: URL;
let models: typeof Models;
const server = createServer((_, response) => response.end(body));
beforeAll(async () => {
  Object.assign(globalThis, { SHIPPED_MODELS: [shipped] }); // inserted by the build
  models = await import("./models.ts");
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/some/folder/`);
});
afterAll(() => void server.close());

const own = { name: "tiny", config: "served/tiny/c.json", weights: "served/tiny/w.safetensors", bytes: 5 };
const offered = async (list: unknown) => {
  body = typeof list === "string" ? list : JSON.stringify(list);
  return (await models.offeredModels(base)).map(({ name }) => name);
};

it("comes before the shipped ones, with absolute addresses", async () => {
  expect(await offered([own])).toEqual(["tiny", "emoji"]);
  const [first] = await models.offeredModels(base);
  expect(first).toEqual({ ...own, config: `${base}${own.config}`, weights: `${base}${own.weights}` });
});

it.each([
  ["a page", "<!doctype html><title>Not found</title>"],
  ["nothing", ""],
  ["null", null],
  ["an object", { 0: own, length: 1 }],
  ["a number", 7],
  ["a cut list", JSON.stringify([own]).slice(0, -1)],
  ["other values", [null, 1, "tiny", [], [own], {}, true]],
  ["an entry without weights", [{ ...own, weights: undefined }]],
  ["a name that is no text", [{ ...own, name: { toString: "x" } }]],
  ["an empty name", [{ ...own, name: "" }]],
  ["a name of a megabyte", [{ ...own, name: "n".repeat(1e6) }]],
  ["an address that is none", [{ ...own, config: "http://" }]],
  ["a script as an address", [{ ...own, config: "javascript:alert(1)" }]],
  ["another host", [{ ...own, weights: "https://example.org/w.safetensors" }]],
  ["a size that is no number", [{ ...own, bytes: "5" }]],
  ["a negative size", [{ ...own, bytes: -5 }]],
  ["a fraction as a size", [{ ...own, bytes: 0.5 }]],
])("is only the shipped model if the server answers with %s", async (_, list) => {
  expect(await offered(list)).toEqual(["emoji"]);
});

it("keeps the usable entries of a list, the first of each name, and at most a thousand", async () => {
  expect(await offered([null, own, { ...own, config: "http://" }, { ...own, config: "other" }])).toEqual([
    "tiny",
    "emoji",
  ]);
  expect((await models.offeredModels(base))[0].config).toBe(`${base}${own.config}`);
  const many = Array.from({ length: 100_000 }, (_, i) => ({ ...own, name: `m${i}` }));
  expect(await offered(many)).toHaveLength(1001);
});

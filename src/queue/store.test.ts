/** The shared folder: damaged objects are replaced, and folders that cannot be written to are noticed. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openStore } from "./store.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-store-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

it("replaces an object that the disk damaged", async () => {
  mkdirSync(at("shared"));
  writeFileSync(at("model"), "weights");
  const store = await openStore(at("shared"), { cache: at("cache") });
  const hash = await store.addFile(at("model"));
  writeFileSync(join(at("shared"), "objects", hash), "weighty");
  const name = { folder: "queue", name: "model" };
  await expect(store.cached(hash, name)).rejects.toThrow(/does not have the SHA-256 in its name/);
  await store.addFile(at("model"));
  expect(readFileSync(await store.cached(hash, name), "utf8")).toBe("weights");
});

it("notices a cache that cannot be written to, and leaves nothing in those that can", async () => {
  mkdirSync(at("plain"));
  writeFileSync(at("file"), "");
  await expect((await openStore(at("plain"), { cache: at("file") })).probe()).rejects.toThrow(/cannot write/);
  await (await openStore(at("plain"), {})).probe();
  expect(readdirSync(at("plain"))).toEqual([]);
});

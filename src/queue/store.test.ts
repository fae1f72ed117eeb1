/** The shared folder: what is damaged is replaced, what cannot be written to is noticed, and what killed commands left is dropped. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { temporaryName } from "../files/temporary.ts";
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

it("drops what killed commands left more than a day ago, and nothing else", async () => {
  const days = (count: number) => new Date(Date.now() - count * 86_400_000);
  const area = (name: string, age: number) => {
    mkdirSync(join(at("used"), "areas", name, "0"), { recursive: true });
    utimesSync(join(at("used"), "areas", name), days(age), days(age));
  };
  const file = (name: string, age: number) => {
    mkdirSync(join(at("used"), "objects"), { recursive: true });
    writeFileSync(join(at("used"), "objects", name), "bytes");
    utimesSync(join(at("used"), "objects", name), days(age), days(age));
  };
  for (const name of ["run-dead", "run-running", "train-stopped", "shards-1"]) area(name, 2);
  area("run-young", 0.5);
  const [old, young] = [2, 0.5].map((age) => {
    const name = temporaryName("object");
    file(name, age);
    return name;
  });
  file("0123", 9);
  const store = await openStore(at("used"), {});
  await store.sweep(async (run) => run === "run-running");
  expect(readdirSync(join(at("used"), "areas")).toSorted()).toEqual([
    "run-running",
    "run-young",
    "shards-1",
    "train-stopped",
  ]);
  expect(readdirSync(join(at("used"), "objects")).toSorted()).toEqual([young, "0123"].toSorted());
  expect(old).not.toBe(young);
});

/** Folders that cannot be created, and dangling links. */

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { run } from "../cli/program.ts";
import { UserError } from "../core/errors.ts";
import { writeFileAtomic } from "./atomic.ts";
import { danglingLink, makeFolder } from "./disk.ts";

let dir = "";
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), "fractalgen-disk-"))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

it("creates a folder and its parents, repeatedly and concurrently", async () => {
  const path = join(dir, "a/b/c");
  await Promise.all([makeFolder(path), makeFolder(path), makeFolder(join(dir, "a/d"))]);
  await makeFolder(path);
  expect(readdirSync(dir, { recursive: true }).sort()).toEqual(["a", "a/b", "a/b/c", "a/d"]);
});

it.skipIf(!existsSync("/proc/self"))(
  "reports a file system that cannot create folders, instead of trying forever",
  async () => {
    for (const path of ["/proc/cache", "/proc/cache/deeper/still", "/proc/self/cache"]) {
      const making = makeFolder(path);
      await expect(making).rejects.toBeInstanceOf(UserError);
      await expect(making).rejects.toThrow(new RegExp(`^cannot write ${path}: .*choose another folder`));
    }
  },
);

it("names a dangling link anywhere in the path", async () => {
  symlinkSync("/nowhere/runs", join(dir, "gone"));
  symlinkSync(join(dir, "gone"), join(dir, "twice"));
  symlinkSync("loop", join(dir, "loop"));
  mkdirSync(join(dir, "there"));
  symlinkSync("there", join(dir, "fine"));
  expect(danglingLink(join(dir, "fine/new/run"))).toBe(undefined);
  writeFileSync(join(dir, "file"), "");
  expect(danglingLink(join(dir, "file/run"))).toBe(undefined);
  for (const name of ["gone", "twice", "loop"])
    for (const path of [name, `${name}/run`, `${name}/a/b`]) {
      expect(danglingLink(join(dir, path))?.link).toBe(join(dir, name));
      await expect(makeFolder(join(dir, path))).rejects.toThrow(
        new RegExp(`${dir}/${name} is a link to \\S+, which does not exist; mount that disk, or choose another path$`),
      );
    }
  await expect(writeFileAtomic(join(dir, "gone/a.png"), "x")).rejects.toThrow(/is a link to \/nowhere\/runs, which/);
});

it.each([
  ["sample", "--out", "gone/a.png"],
  ["sample", "--each", "gone/each"],
  ["sample", "--animate", "gone/a.gif"],
  ["train", "--data", "emoji", "--out", "gone/run"],
  ["train", "--data", "emoji", "--out", "run", "--cache", "gone/cache"],
  ["quantize", "emoji", "gone/q8"],
  ["evaluate", "likelihood", "--data", "emoji", "--map", "gone/map.png"],
])("%s %s detects it before any work", async (...words) => {
  symlinkSync("/nowhere", join(dir, "gone"));
  const said = vi.spyOn(console, "error").mockImplementation(() => {});
  const args = words.map((word) => (/^(gone|run)/.test(word) ? join(dir, word) : word));
  expect(await run(args)).toBe(2);
  expect(said.mock.calls.flat()).toEqual([
    expect.stringMatching(/^error: .*gone is a link to \/nowhere, which does not exist/),
  ]);
  expect(readdirSync(dir)).toEqual(["gone"]);
  said.mockRestore();
});

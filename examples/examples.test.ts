/** The examples run as they are, on a small folder of pictures. */

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadCheckpoint } from "../src/index.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-examples-"));
  for (const name of ["red", "blue"]) {
    await mkdir(join(folder, "pictures", name), { recursive: true });
    for (let i = 0; i < 4; i++)
      await sharp({ create: { width: 8, height: 8, channels: 3, background: name } })
        .png()
        .toFile(join(folder, "pictures", name, `${i}.png`));
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it.each(["train-folder.ts", "train-in-worker.ts"])("%s trains and saves", async (name) => {
  const example = fileURLToPath(new URL(name, import.meta.url));
  const out = join(folder, name);
  const args = ["--import", "tsx", example, join(folder, "pictures"), out, "2"];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args);
  expect(stderr).toBe("");
  expect(stdout).toMatch(/step\W+1\b/);
  expect((await loadCheckpoint(join(out, "last"))).state.step).toBe(2);
});

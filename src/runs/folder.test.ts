/** Opening a run's folder: which records of an earlier log are kept, and what remains after a stop. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { parseTrainingConfig } from "../config/training.ts";
import { nodeEngine } from "../engine/node.ts";
import { own } from "../files/ownership.ts";
import { dataRecord } from "../train/checkpoint.ts";
import { startingState } from "../train/state.ts";
import { tinyDataset, tinyModel } from "../train/tiny.ts";
import { openRun, type FolderOptions } from "./folder.ts";

let dir = "";
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), "fractalgen-run-"))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const training = parseTrainingConfig({}, "the test");
async function opened(step: number, given: Partial<FolderOptions> = {}): Promise<string> {
  const [model, dataset] = [tinyModel(), tinyDataset()];
  const state = { ...startingState(model, 0, training), step };
  const owned = await own(dir, { inside: true });
  const options = { model, training, state, data: dataRecord(dataset), dataset, owned, samples: false, ...given };
  try {
    const run = await openRun(dir, await nodeEngine({ threads: 1 }), options);
    await run.close();
    return JSON.stringify(run.references);
  } finally {
    await owned.release();
  }
}

const earlier = [
  '{"kind":"references","step":0,"references":[{"name":"earlier","bits":1}]}\n',
  '{"kind":"step","step":1,"loss":5,"bits":7}\n',
];

it("takes reference points from the log of the resumed run, without records written after its checkpoint", async () => {
  writeFileSync(join(dir, "log.jsonl"), `${earlier.join("")}{"kind":"step","step":2,"loss":5,"bits":7}\n{"kind":"st`);
  expect(await opened(1)).toMatch(/"name":"earlier","bits":1/);
  expect(readFileSync(join(dir, "log.jsonl"), "utf8")).toBe(earlier.join(""));
});

it("discards everything of a run without a checkpoint, because it may have used other images", async () => {
  writeFileSync(join(dir, "log.jsonl"), earlier.join(""));
  expect(await opened(0)).not.toMatch(/earlier/);
  expect(readFileSync(join(dir, "log.jsonl"), "utf8")).toMatch(/^\{"kind":"references".*"uniform".*\}\n$/);
});

it("stops before anything is written, also while computing the reference points", async () => {
  await expect(opened(0, { signal: AbortSignal.abort() })).rejects.toThrow("aborted");
  const stop = new AbortController();
  await expect(opened(0, { signal: stop.signal, onReferences: () => stop.abort() })).rejects.toThrow("aborted");
  expect(readdirSync(dir)).toEqual([]);
});

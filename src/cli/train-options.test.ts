/** The options of `fractalgen train`, and errors that are reported before the data are read. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { trainingNames } from "../config/training.ts";
import { commandLine } from "./program.ts";
import { call } from "./test-call.ts";

let dir = "";
beforeAll(() => void (dir = mkdtempSync(join(tmpdir(), "fractalgen-train-options-"))));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("every declared training setting", () => {
  it("is an option of train or of all commands that run graphs", async () => {
    const [train] = (await commandLine("train")).commands;
    expect(train.options.map((option) => option.attributeName())).toEqual(expect.arrayContaining([...trainingNames]));
  });
});

it.each([
  ["a missing model", ["--init-from", "nothing", "--data", "x", "--out", "run"], /--init-from: there is no model/],
  ["no data", ["--out", "run"], /--data: expected emoji \(built in\), a folder of images/],
  ["no folder", ["--data", "emoji"], /--out: expected a folder for the run's checkpoints, got none; .*--resume/],
  ["two lengths", ["--data", "x", "--out", "run", "--epochs", "1", "--steps", "2"], /--epochs: .*--steps/],
])("refuses %s", async (_, options, told) => {
  const args = options.map((one) => (one === "run" ? join(dir, one) : one));
  const { code, err } = await call("train", "--cache", join(dir, "cache"), ...args);
  expect(err).toMatch(told);
  expect(code).toBe(2);
});

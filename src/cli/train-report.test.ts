/** The line of progress that a training run shows. */

import { expect, it } from "vitest";
import { parseTrainingConfig } from "../config/training.ts";
import { reporter } from "./train-report.ts";

it("fits the most important figures into 80 columns, and says what follows the last step", () => {
  const lines: string[] = [];
  const progress = { update: (line: string) => void lines.push(line), clear() {} };
  const report = reporter(parseTrainingConfig({ steps: 40_000, batch: 32 }, "the test"), progress);
  const step = { kind: "step", loss: 2.5, bits: 3, gradientNorm: 1, learningRate: 1e-3, seconds: 2 } as const;
  report({ kind: "evaluation", step: 9999, bits: 3.25, images: 256 });
  report({ ...step, step: 10_000 });
  report({ ...step, step: 40_000 });
  expect(lines[0].slice(0, 80)).toBe(
    "step 10000 of 40000, 16 h 40 min left  loss 2.5000  3.000 bits/dim  held out 3.2",
  );
  expect(lines[0]).toMatch(/held out 3\.250 {2}16 images\/s$/);
  expect(lines[1]).toMatch(/^step 40000 of 40000, evaluating all held-out images {2}loss/);
});

it("shows how many replicas of a round are done, and on how many workers, before the figures of the last step", () => {
  const lines: string[] = [];
  const progress = { update: (line: string) => void lines.push(line), clear() {} };
  const report = reporter(parseTrainingConfig({ steps: 40, batch: 4, replicas: 4 }, "the test"), progress);
  report({ kind: "replicas", done: 0 });
  report({ kind: "step", step: 20, loss: 2.5, bits: 3, gradientNorm: 1, learningRate: 1e-3, seconds: 2 });
  report({ kind: "replicas", done: 2, workers: 3 });
  expect(lines[0]).toBe("0 of 4 replicas done");
  expect(lines[2]).toMatch(/^2 of 4 replicas done, 3 workers {2}step 20 of 40, .* left {2}loss 2\.5000/);
});

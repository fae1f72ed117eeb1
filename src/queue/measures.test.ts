/** Likelihood, quality and memorisation computed by workers, against one process. */

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { call, type Said } from "../cli/test-call.ts";
import { filesOf, kills, killing, noRedis, type TestQueue, testQueue, writePictures } from "./test-queue.ts";
import { thorough } from "../test-depth.ts";

const minutes = 60_000;

describe.skipIf(noRedis)(`evaluate on workers${noRedis ? ` (skipped: ${noRedis})` : ""}`, () => {
  let queue: TestQueue;
  beforeAll(async () => {
    queue = await testQueue();
    await writePictures(queue.at("data"), 40 + 2 * kills);
    await call("evaluate", "features", "--data", queue.at("data"), "--out", queue.at("own"), "--cache", queue.at("cache"), "--steps", "5", "--json"); // prettier-ignore
  });
  afterAll(() => queue?.end());

  const evaluate = (measure: string, ...args: string[]) => [
    "evaluate",
    measure,
    ...`--threads 1 --held-out 0.3 --json --cache ${queue.at("cache")}`.split(" "),
    ...args,
  ];
  const without = ({ out }: Pick<Said, "out">) => out.replaceAll(/"(model|generated)":"[^"]*"/g, "");

  it.runIf(thorough)(
    "gives the same likelihoods to the last bit, whichever workers are killed",
    async () => {
      const measure = (file: string, ...more: string[]) =>
        evaluate(
          "likelihood",
          ...`--model ${queue.at("tiny")} --data ${queue.at("data")} --passes 2 --batch 2`.split(" "),
          "--per-image",
          queue.at(file),
          ...more,
        );
      const one = await call(...measure("one.jsonl", "--chart", queue.at("one.svg")));
      expect(one.code, one.err).toBe(0);
      const run = queue.command(...measure("many.jsonl", "--chart", queue.at("many.svg"), ...queue.options));
      expect(await killing(queue, run.ended)).toBe(kills);
      const many = await run.ended;
      expect(many.code, many.err).toBe(0);
      expect(many.out).toBe(one.out);
      for (const ending of ["jsonl", "svg"])
        expect(readFileSync(queue.at(`many.${ending}`), "utf8")).toBe(readFileSync(queue.at(`one.${ending}`), "utf8"));
    },
    (2 + kills) * minutes,
  );

  it.runIf(thorough)(
    "measures quality and memorisation as one process does, and keeps the images",
    async () => {
      const worker = queue.worker();
      const drawing = ["--generated", queue.at("tiny"), "-n", "20", "--batch", "8", "--features", queue.at("own")];
      const measures = { quality: "--reference", memorisation: "--data" };
      for (const [measure, data] of Object.entries(measures)) {
        const args = [data, queue.at("data"), ...drawing, "--iterations", "2,2"];
        const each = (name: string) => ["--each", queue.at(`${measure}-${name}`)];
        const one = await call(...evaluate(measure, ...args, ...each("one")));
        expect(one.code, one.err).toBe(0);
        const many = await queue.command(...evaluate(measure, ...args, ...each("many"), ...queue.options)).ended;
        expect(many.code, many.err).toBe(0);
        expect(without(many)).toBe(without(one));
        expect(filesOf(queue.at(`${measure}-many`))).toEqual(filesOf(queue.at(`${measure}-one`)));
      }
      worker.child.kill("SIGTERM");
      await worker.ended;
    },
    4 * minutes,
  );
});

/** Work in shards, without Redis, against the same work in one process. */

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { filesOf, writePictures, writeTinyModel } from "../queue/test-queue.ts";
import { call } from "./test-call.ts";
import { thorough } from "../test-depth.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-shards-"));
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  mkdirSync(at("shared"));
  await writeTinyModel(at("tiny"));
  await writePictures(at("data"), 60);
  await call("evaluate", "features", "--data", at("data"), "--out", at("own"), "--cache", at("cache"), "--steps", "5");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const shared = () => ["--shared", at("shared")];
const joined = () => call("join", ...shared());

async function shards(args: string[], which: readonly string[]): Promise<void> {
  for (const shard of which) {
    const { code, err } = await call(...args, ...shared(), "--shard", shard);
    expect([code, err]).toEqual([0, expect.stringMatching(`shard ${shard} is done`)]);
  }
}

it("writes the same images, counted from 0 or from 1; says which shards are missing", async () => {
  const draw = (out: string) =>
    `sample --model ${at("tiny")} -n 20 --batch 4 --iterations 2,2 --threads 1 --each ${at(out)} --out ${at(out)}.png`.split(
      " ",
    );
  expect((await call(...draw("one"))).code).toBe(0);
  expect(await joined()).toMatchObject({ code: 2, err: expect.stringMatching(/--shared: expected a folder with the/) });
  await shards(draw("many"), ["1/3"]);
  expect(existsSync(at("many"))).toBe(false);
  const lacking = await joined();
  expect([lacking.code, lacking.err]).toEqual([2, expect.stringMatching(/of 3 shards .* missing: 2, 3; .* 2\/3/)]);
  await shards(draw("many"), ["2/3", "0/3"]);
  expect((await joined()).code).toBe(0);
  expect(filesOf(at("many"))).toEqual(filesOf(at("one")));
  expect(readFileSync(at("many.png"))).toEqual(readFileSync(at("one.png")));
  expect(readdirSync(at("shared/areas"))).toEqual([]);
  for (const wrong of ["4/3", "1", "-1/3", "1/0"])
    expect((await call(...draw("many"), ...shared(), "--shard", wrong)).err).toMatch(/--shard: expected i\/n/);
  expect((await call(...draw("many"), "--shard", "1/2")).err).toMatch(/--shared: expected/);
});

it.runIf(thorough)(
  "measures the same likelihoods, quality and memorisation",
  async () => {
    const evaluate = (args: string) =>
      `evaluate ${args} --cache ${at("cache")} --threads 1 --held-out 0.4 --json`.split(" ");
    const generated = `--generated ${at("tiny")} -n 32 --batch 16 --iterations 2,2 --features ${at("own")}`;
    for (const args of [
      `likelihood --model ${at("tiny")} --data ${at("data")} --batch 4`,
      `quality ${generated} --reference ${at("data")}`,
      `memorisation ${generated} --data ${at("data")}`,
    ]) {
      const one = await call(...evaluate(args));
      expect(one.code, one.err).toBe(0);
      await shards(evaluate(args), ["0/2", "1/2"]);
      const many = await joined();
      expect(many.code, many.err).toBe(0);
      expect(many.out).toBe(one.out);
    }
  },
  480_000,
);

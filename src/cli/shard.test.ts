/** Work in shards, without Redis, against the same work in one process. */

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
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
  await writePictures(at("few"), 12);
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
  const cuda = await call(...draw("many"), ...shared(), "--shard", "1/3", "--device", "cuda");
  expect([cuda.code, cuda.err]).toEqual([2, expect.stringMatching(/--device: cuda is not available here/)]);
  const measure = `evaluate quality --generated ${at("tiny")} --reference ${at("data")} --cache ${at("cache")}`.split(
    " ",
  );
  const own = await call(...measure, ...shared(), "--shard", "1/3");
  expect([own.code, own.err]).toEqual([
    2,
    expect.stringMatching(/--features: each shard would train .*evaluate features/),
  ]);
  for (const wrong of ["4/3", "1", "-1/3", "1/0"])
    expect((await call(...draw("many"), ...shared(), "--shard", wrong)).err).toMatch(/--shard: expected i\/n/);
  expect((await call(...draw("many"), "--shard", "1/2")).err).toMatch(/--shared: expected/);
});

it.runIf(thorough)("joins what is complete, in any division and at another path, and names the rest", async () => {
  const draw = (out: string) =>
    `sample --model ${at("tiny")} -n 4 --batch 1 --iterations 1,1 --out ${at(out)}.png`.split(" ");
  const [a, b, c] = [draw("a"), draw("b"), draw("c")];
  // 1/2 and 2/3 are parts of different divisions, of which neither is complete.
  await shards([...a, "--threads", "1"], ["1/2", "2/3"]);
  await shards([...b, "--threads", "1"], ["1/2"]);
  symlinkSync(at("shared"), at("elsewhere"));
  const elsewhere = await call(...b, "--threads", "2", "--shared", at("elsewhere"), "--shard", "2/2");
  expect(elsewhere.code, elsewhere.err).toBe(0);
  await shards(c, ["1/1"]);
  const old = readdirSync(at("shared/areas")).find((area) =>
    JSON.parse(commandOf(area)).args.includes(`${at("c")}.png`),
  )!;
  writeFileSync(
    join(at("shared/areas"), old, "command"),
    commandOf(old).replace(/"version":"[^"]+"/, '"version":"0.0.1"'),
  );
  const { code, err } = await joined();
  expect(code).toBe(2);
  expect(err).toMatch(/of 2 shards of ".*a\.png.*", these are missing: 2;/);
  expect(err).toMatch(/the shards of ".*c\.png.*" are of version 0\.0\.1, and this is version \d/);
  expect([existsSync(at("a.png")), existsSync(at("b.png")), existsSync(at("c.png"))]).toEqual([false, true, false]);
  await shards([...a, "--threads", "1"], ["2/2"]);
  const rest = await joined();
  expect([rest.code, rest.err]).toEqual([2, expect.not.stringMatching(/missing/)]);
  expect(readFileSync(at("a.png")).length).toBe(readFileSync(at("b.png")).length);
  rmSync(join(at("shared/areas"), old), { recursive: true });
  expect(readdirSync(at("shared/areas"))).toEqual([]);
});

const commandOf = (area: string) => readFileSync(join(at("shared/areas"), area, "command"), "utf8");

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
      `quality --generated ${at("few")} --features ${at("own")} --reference ${at("data")} --part all`,
      `memorisation --generated ${at("few")} --features ${at("own")} --data ${at("data")}`,
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

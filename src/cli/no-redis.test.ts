/** Without --queue, no command loads a Redis client. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { built } from "../test-program.ts";
import { started, type TestRuns, testRuns } from "./test-run.ts";
import { thorough } from "../test-depth.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-no-redis-"));
let runs: TestRuns;
beforeAll(async () => {
  runs = await testRuns();
  const hook = `export function resolve(name, context, next) {
    if (/^(bullmq|ioredis|@bull-board)/.test(name)) throw new Error("loaded: " + name);
    return next(name, context);
  }`;
  writeFileSync(join(folder, "hook.mjs"), hook);
  const register = `import { register } from "node:module"; register(${JSON.stringify(pathToFileURL(join(folder, "hook.mjs")))});`;
  writeFileSync(join(folder, "register.mjs"), register);
});
afterAll(() => {
  runs.remove();
  rmSync(folder, { recursive: true, force: true });
});

const run = (...args: string[]) =>
  started(process.execPath, ["--import", join(folder, "register.mjs"), built("cli/main"), ...args]);

it.runIf(thorough)(
  "of all commands",
  async () => {
    for (const args of [
      ["--help"],
      `sample -n 1 --iterations 1,1 --threads 1 --json --out ${join(folder, "a.png")}`.split(" "),
      ["train", "--cache", runs.folder, "--threads", "1", "--json", ...runs.fresh(runs.at("a"), 2), "--replicas", "2"],
    ]) {
      const { code, err } = await run(...args).ended;
      expect(code, err).toBe(0);
    }
    const server = run("serve", "--port", "0");
    await server.says(/ at http:/);
    server.child.kill("SIGTERM");
    expect((await server.ended).code).toBe(0);
    const { err } = await run("sample", "-n", "1", "--queue", "redis://127.0.0.1:1", "--shared", folder).ended;
    expect(err).toMatch(/loaded: ioredis/); // so the hook works
  },
  240_000,
);

/** `fractalgen serve` as a process: its address, one and two presses of Ctrl-C, and errors. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { clientOf, generate, imagesIn } from "../server/test-client.ts";
import { type TestModels, testModels } from "../server/test-models.ts";
import { run } from "./program.ts";
import { built } from "../test-program.ts";
import { firstOf, thorough } from "../test-depth.ts";

const main = built("cli/main");
let models: TestModels;
let server: ChildProcess | undefined;
beforeAll(async () => {
  models = await testModels();
});
afterEach(() => server?.kill("SIGKILL"));
afterAll(() => models.remove());

async function serving(...args: string[]): Promise<{ url: string; said: () => string; code: Promise<number> }> {
  const common = [main, "serve", "--port", "0", "--threads", "1"];
  const child = spawn(process.execPath, [...common, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  server = child;
  let said = "";
  child.stderr.on("data", (text: Buffer) => (said += text.toString()));
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  const code = once(child, "exit").then(
    ([code, signal]) => (code ?? 128 + constants.signals[signal as NodeJS.Signals]) as number,
  ); // by shell convention
  return { url: / at (http:\S+)$/.exec(line)![1], said: () => said, code };
}

describe("fractalgen serve", () => {
  it.each(firstOf(["SIGINT", "SIGHUP"] as const))(
    "serves all given models, and finishes running jobs on %s",
    async (stop) => {
      const { tiny, slow } = models;
      const { url, said, code } = await serving("--model", slow.folder.folder, "--model", tiny.folder.folder);
      const at = { url, close: async () => {} };
      expect((await clientOf(at).models.list()).data.map(({ id }) => id)).toEqual(["slow", "tiny"]);
      const running = generate(clientOf(at), { seed: 1 });
      await vi.waitFor(async () => expect(await imagesIn(at, "running")).toBe(1), { timeout: 20_000, interval: 20 });
      server!.kill(stop);
      expect((await running).data).toHaveLength(1);
      expect(await code).toBe(0);
      expect(said()).toMatch(/^stopping once running jobs are finished; press Ctrl-C again to stop immediately\n$/);
    },
  );

  it("requires the key from a file, and answers to an allowed host name", async () => {
    const path = join(models.folder, "key");
    writeFileSync(path, "  s3cret-key\n");
    const { url, code } = await serving("--model", models.tiny.folder.folder, "--api-key-file", path, "--allow-host", "pics.example", "--trust-proxy"); // prettier-ignore
    const ask = async (headers: Record<string, string>) => (await fetch(`${url}/v1/models`, { headers })).status;
    const authorization = "Bearer s3cret-key";
    expect(await ask({})).toBe(401);
    expect(await ask({ authorization: "Bearer s3cret" })).toBe(401);
    expect(await ask({ authorization })).toBe(200);
    expect(await ask({ authorization, "X-Forwarded-Host": "pics.example" })).toBe(200);
    expect(await ask({ authorization, "X-Forwarded-Host": "evil.example" })).toBe(403);
    server!.kill("SIGINT");
    expect(await code).toBe(0);
  });

  it.runIf(thorough)("ends immediately on a second Ctrl-C", async () => {
    const { url, code } = await serving("--model", models.slow.folder.folder);
    const at = { url, close: async () => {} };
    const running = expect(generate(clientOf(at), { n: 64 })).rejects.toThrow("Connection error");
    await vi.waitFor(async () => expect(await imagesIn(at, "running")).toBe(16), { timeout: 20_000, interval: 20 });
    server!.kill("SIGINT");
    await vi.waitFor(async () => expect((await fetch(`${url}/healthz`)).status).toBe(503));
    await new Promise((resolve) => setTimeout(resolve, 600)); // closer presses count as one
    server!.kill("SIGINT");
    await running;
    expect(await code).toBe(130);
  });

  it.each([
    [["--model", "emojy"], /there is no model "emojy"/],
    [["--port", "70000"], /^error: --port: expected a whole number from 0 to 65535/],
    [["--host", "203.0.113.1"], /^error: --host: 203\.0\.113\.1 is not an address of this machine/],
    [["--model", "emoji", "--model", "emoji"], /two models are called "emoji"/],
    [["--memory", "1MB"], /takes about .* of memory even for one image/],
    [["--cors", "example.org"], /^error: --cors: expected an origin.*did you mean https:\/\/example\.org\?$/],
    [["--allow-host", "https://example.org"], /^error: --allow-host: expected the name of a host/],
    [
      ["--api-key-file", "no/such/file"],
      /^error: --api-key-file: the file no\/such\/file does not exist; create a key with/,
    ],
    [["--api-key-file", "package.json"], /^error: --api-key-file: expected one key .* in package\.json, got text with/],
  ])("refuses %j in one sentence", async (args, sentence) => {
    const said = vi.spyOn(console, "error").mockImplementation(() => {});
    expect(await run(["serve", ...args])).toBe(2);
    expect(said.mock.calls.map(([line]) => line as string).join("\n")).toMatch(sentence);
    said.mockRestore();
  });
});

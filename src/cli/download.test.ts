/** `fractalgen download` as a process: messages, files and the cache, also with several processes. */

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { serve, type TestServer, testServer } from "../files/test-server.ts";
import { downloadLine } from "./download-progress.ts";
import { built } from "../test-program.ts";
import { firstOf, thorough } from "../test-depth.ts";

const main = built("cli/main");
const caseFolder = fileURLToPath(new URL("../../fixtures/parity/mar-3level/", import.meta.url));
const checkpoint = readFileSync(join(caseFolder, "checkpoint-last.pth"));
const config = join(caseFolder, "case.json");
const sha256 = createHash("sha256").update(checkpoint).digest("hex");

let server: TestServer;
let folder = "";
beforeAll(async () => {
  server = await testServer();
});
afterAll(() => server.close());
beforeEach(async () => {
  server.requests = [];
  folder = await mkdtemp(join(tmpdir(), "fractalgen-download-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

function fractalgen(
  args: string[],
  { env = {}, onError }: { env?: NodeJS.ProcessEnv; onError?: (text: string, kill: () => void) => void } = {},
): Promise<Ended> {
  const child = spawn(process.execPath, [main, "download", ...args], {
    env: { ...process.env, XDG_CACHE_HOME: folder, HF_ENDPOINT: server.origin, HTTPS_PROXY: "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended: Ended = { code: null, stdout: "", stderr: "" };
  child.stdout.on("data", (text) => (ended.stdout += String(text)));
  child.stderr.on("data", (text) => {
    ended.stderr += String(text);
    onError?.(ended.stderr, () => child.kill("SIGINT"));
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ ...ended, code })));
}

const lastLine = ({ stderr }: Ended) => stderr.trimEnd().split("\n").at(-1);
const address = () => `${server.origin}/mine.pth?key=1`;

describe("fractalgen download", () => {
  it("downloads over a connection that drops, converts, and needs no server the next time", async () => {
    server.answer = (request) => serve(request, checkpoint, { cutAfter: request.attempt < 2 ? 250_000 : undefined });
    const out = join(folder, "model");
    const first = await fractalgen([address(), out, "--config", config]);
    expect([first.code, first.stdout]).toEqual([0, `${out}\n`]);
    expect(first.stderr).toMatch(/^downloading: 660 kB\n.*; retrying/);
    expect(first.stderr).toMatch(new RegExp(`660 kB downloaded in .*, SHA-256 ${sha256}\n`));
    expect(readdirSync(out).sort()).toEqual(["config.json", "model.safetensors"]);

    const asked = server.requests.length;
    const again = await fractalgen([address(), out, "--config", config]);
    expect([again.code, lastLine(again)]).toEqual([2, `error: [out]: ${out} already exists; choose a new folder name`]);
    const json = await fractalgen([address(), "--no-convert", "--json"], { env: { FRACTALGEN_OFFLINE: "1" } });
    const { path, ...rest } = JSON.parse(json.stdout);
    expect(rest).toEqual({ source: address(), bytes: checkpoint.length, sha256, cached: true });
    expect(path).toMatch(new RegExp(`^${folder}/fractalgen/downloads/addresses/[0-9a-f]{16}/mine\\.pth$`));
    expect(json.stderr).toBe("");
    expect(server.requests.length).toBe(asked);
  });

  it.runIf(thorough)("keeps the downloaded part on Ctrl-C and resumes from it", async () => {
    server.answer = (request) => {
      if (request.attempt > 0) return serve(request, checkpoint);
      request.response.writeHead(200, { "content-length": checkpoint.length, etag: '"one"' });
      request.response.write(checkpoint.subarray(0, 330_000));
    };
    let asked = false;
    const stopped = await fractalgen([address(), "--no-convert"], {
      onError(text, kill) {
        if (asked || !text.includes("downloading:")) return;
        asked = true;
        setTimeout(kill, 500);
      },
    });
    expect([stopped.code, stopped.stdout]).toEqual([130, ""]);
    expect(lastLine(stopped)).toBe("stopped at 50% of 660 kB; run the same command again to resume");
    const second = await fractalgen([address(), "--no-convert"]);
    expect(second.stderr).toMatch(/^downloading: 660 kB, 330 kB already downloaded\n/);
    expect(readFileSync(second.stdout.trimEnd()).equals(checkpoint)).toBe(true);
  });

  it.runIf(thorough)("downloads once if two processes start at the same time", async () => {
    server.answer = (request) => setTimeout(() => serve(request, checkpoint), 1500);
    const both = await Promise.all([1, 2].map(() => fractalgen([address(), "--no-convert", "--json"])));
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(both.map(({ stdout }) => JSON.parse(stdout).cached).sort()).toEqual([false, true]);
    expect(server.requests.length).toBe(1);
  });

  it.runIf(thorough)(
    "checks the checksum of a Hugging Face model, and refuses a model that was tampered with",
    async () => {
      let sent = checkpoint;
      server.answer = (request) => {
        const { url } = request.request;
        if (url !== "/api/models/org/name/revision/main?blobs=true") return serve(request, sent);
        request.response.end(JSON.stringify({ siblings: [{ rfilename: "checkpoint-last.pth", lfs: { sha256 } }] }));
      };
      const out = join(folder, "hub");
      expect((await fractalgen(["org/name", out, "--config", config], { env: { HF_TOKEN: "secret" } })).code).toBe(0);
      expect(server.requests.map(({ authorization }) => authorization)).toEqual(["Bearer secret", "Bearer secret"]);
      expect(existsSync(join(out, "model.safetensors"))).toBe(true);
      sent = Buffer.from(checkpoint);
      sent[300_000] ^= 1;
      const forged = await fractalgen(["org/name", join(folder, "forged"), "--config", config, "--force"]);
      expect([forged.code, forged.stdout]).toEqual([2, ""]);
      expect(lastLine(forged)).toMatch(
        /^error: checkpoint-last\.pth of org\/name: the downloaded file has the SHA-256/,
      );
      expect(existsSync(join(folder, "forged"))).toBe(false);
      const offline = await fractalgen(["org/name", "--no-convert", "--json"], { env: { HF_HUB_OFFLINE: "1" } });
      expect(JSON.parse(offline.stdout)).toMatchObject({ sha256, cached: true });
    },
  );

  it.runIf(thorough)("accepts a file, and checks its checksum", async () => {
    const path = join(folder, "mine.pth");
    await writeFile(path, checkpoint);
    const { code, stdout } = await fractalgen([path, "--no-convert", "--sha256", sha256, "--json"]);
    expect([code, JSON.parse(stdout).path]).toEqual([0, path]);
    const wrong = await fractalgen([path, "--no-convert", "--sha256", "0".repeat(64)]);
    expect(lastLine(wrong)).toBe(
      `error: ${path}: its SHA-256 is ${sha256}, expected ${"0".repeat(64)}; download the file again`,
    );
    await writeFile(path, checkpoint.subarray(0, 400_000));
    expect(lastLine(await fractalgen([path, "--no-convert"]))).toMatch(/mine\.pth: .*truncated or damaged/);
  });

  it("refuses a truncated checkpoint that the server presents as complete", async () => {
    server.answer = (request) => serve(request, checkpoint.subarray(0, 400_000));
    const ended = await fractalgen([address(), "--no-convert"]);
    expect(ended.code).toBe(2);
    expect(lastLine(ended)).toMatch(
      /mine\.pth: the downloaded file is not a PyTorch checkpoint or a safetensors file: .*truncated/,
    );
    const kept = readdirSync(folder, { recursive: true, encoding: "utf8" });
    expect(kept.filter((name) => name.includes("mine"))).toEqual([]);
  });

  const faults: [string, string[], NodeJS.ProcessEnv, RegExp][] = [
    [
      "a typo",
      ["fractalmar_in46"],
      {},
      /there is no model or file "fractalmar_in46"; did you mean "fractalmar_in64"\?/,
    ],
    [
      "a file that is not cached with --offline",
      ["fractalmar_in64", "OUT", "--offline"],
      {},
      /^error: fractalmar_in64 is not in the cache \(.*fractalmar_in64\/checkpoint-last\.pth\) and downloading is switched/,
    ],
    [
      "a missing architecture",
      ["http://127.0.0.1/x.pth"],
      {},
      /--config: expected the model's architecture, fractalar_in64, /,
    ],
    ["a wrong checksum", ["fractalmar_in64", "--sha256", "abc"], {}, /--sha256: expected 64 hexadecimal digits, got/],
    [
      "a cache that is a file",
      ["fractalmar_in64", "--cache", main],
      {},
      /--cache: .*main\.js is a file, but a folder is needed/,
    ],
    ["a missing source", [], {}, /missing required argument 'source'/],
  ];

  it.each(firstOf(faults, 2))("reports %s in one sentence", async (_, args, env, sentence) => {
    const ended = await fractalgen(
      args.map((arg) => (arg === "OUT" ? join(folder, "out") : arg)),
      { env },
    );
    expect([ended.code, ended.stdout, ended.stderr.split("\n").length]).toEqual([2, "", 2]);
    expect(ended.stderr).toMatch(sentence);
    expect(server.requests).toEqual([]);
  });

  it("does not download if the model's folder exists", async () => {
    await mkdir(join(folder, "there"));
    const ended = await fractalgen([address(), join(folder, "there"), "--config", config]);
    expect(lastLine(ended)).toMatch(/there already exists; choose a new folder name$/);
    expect(server.requests).toEqual([]);
  });

  it("says if a proxy is not used", async () => {
    server.answer = (request) => serve(request, checkpoint);
    const env = { HTTPS_PROXY: "http://127.0.0.1:1", NODE_USE_ENV_PROXY: "" };
    expect((await fractalgen([address(), "--no-convert"], { env })).stderr).toMatch(
      /^note: HTTPS_PROXY is set but not used; see --help for how to enable it\n/,
    );
  });
});

it("the progress line shows how much is done, the rate and the time left, if they are known", () => {
  expect(downloadLine({ done: 548e6, total: 1.77e9, rate: 12e6 })).toBe(
    " 30%  548 MB of 1.77 GB, 12 MB/s, 1 min 42 s left",
  );
  expect(downloadLine({ done: 0, total: 1.77e9, rate: Number.NaN })).toBe("  0%  0 bytes of 1.77 GB");
  expect(downloadLine({ done: 548e6, rate: 1.2e6 })).toBe("548 MB, 1.2 MB/s");
});

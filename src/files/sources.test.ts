/** Which file a name refers to, and where the cache keeps it. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { publishedNames } from "../config/published.ts";
import { UserError } from "../core/errors.ts";
import { recordSha256 } from "./checksum.ts";
import { findCheckpointSource, type SourceOptions } from "./sources.ts";
import { type TestServer, testServer } from "./test-server.ts";

let server: TestServer;
let cache = "";

beforeAll(async () => {
  server = await testServer();
});
afterAll(() => server.close());
beforeEach(async () => {
  server.requests = [];
  cache = await mkdtemp(join(tmpdir(), "fractalgen-sources-"));
});
afterEach(() => rm(cache, { recursive: true, force: true }));

const find = (text: string, options: Partial<SourceOptions> = {}) =>
  findCheckpointSource(text, { cache, endpoint: server.origin, ...options });

async function refusal(text: string, options?: Partial<SourceOptions>): Promise<string> {
  const error = await find(text, options).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(UserError);
  expect((error as UserError).message).not.toContain("\n");
  return (error as UserError).message;
}

const sum = "5".repeat(64);
const lists = (names: string[]) => {
  server.answer = ({ response }) =>
    response.end(
      JSON.stringify({ id: "org/name", siblings: names.map((rfilename) => ({ rfilename, lfs: { sha256: sum } })) }),
    );
};

describe("a published model", () => {
  it.each(publishedNames)("%s has its own address of a file", async (name) => {
    const { url, path, preset } = await find(name);
    expect(url).toMatch(/^https:\/\/www\.dropbox\.com\/scl\/fi\/\w+\/checkpoint-last\.pth\?rlkey=\w+&st=\w+&dl=1$/);
    expect(relative(cache, path)).toBe(join(name, "checkpoint-last.pth"));
    expect(preset).toBe(name);
    const others = await Promise.all(publishedNames.filter((one) => one !== name).map((one) => find(one)));
    expect(others.map((one) => one.url)).not.toContain(url);
  });

  it("with a typo gets a suggestion", async () => {
    expect(await refusal("fractalmar_in65")).toBe(
      'there is no model or file "fractalmar_in65"; did you mean "fractalmar_in64"?',
    );
    expect(await refusal("something else entirely")).toMatch(/, expected one of fractalar_in64, .*or a file$/);
  });
});

describe("a file", () => {
  it("takes precedence, by its path or address; a folder and a missing file are reported", async () => {
    const path = join(cache, "mine.pth");
    await writeFile(path, "x");
    expect(await find(path)).toEqual({ name: "mine", path });
    expect(await find(pathToFileURL(path).href)).toEqual({ name: "mine", path });
    expect(await refusal(cache)).toMatch(/is a folder, expected a checkpoint file such as .*checkpoint-last\.pth$/);
    expect(await refusal(`${pathToFileURL(path).href}x`)).toMatch(/mine\.pthx: there is no such file; check the path/);
    expect(await refusal("file://elsewhere/mine.pth")).toMatch(/expected the address of a file on this machine/);
    expect(await refusal("weights/mine.pth")).toMatch(/there is no model or file "weights\/mine\.pth"/);
  });
});

describe("an address", () => {
  it("is cached under its own name, which stays inside the cache", async () => {
    const first = await find("https://host/a/model.pth?key=secret#part");
    expect(first).toMatchObject({
      url: "https://host/a/model.pth?key=secret",
      subject: "https://host/a/model.pth",
      name: "model",
    });
    const paths = ["https://host/b/model.pth", "https://host/%2e%2e%2f%2e%2e%2fx", "https://host/", "https://host/%zz"];
    const found = await Promise.all(paths.map((path) => find(path)));
    for (const { path } of found) expect(dirname(dirname(path))).toBe(join(cache, "addresses"));
    expect(new Set([first, ...found].map(({ path }) => path)).size).toBe(5);
  });

  it.each([
    ["ftp://host/x.pth", /expected an address that begins with https:\/\/ or http:\/\//],
    ["https://", /expected an address/],
    ["https://name:word@host/x.pth", /^host: an address that contains a user name or password is not supported/],
  ])("%s is none", async (text, sentence) => {
    expect(await refusal(text)).toMatch(sentence);
  });

  it("has no files to pick from", async () => {
    expect(await refusal("https://host/x.pth", { file: "y.pth" })).toMatch(/^file: it picks a file of a Hugging Face/);
  });
});

describe("a Hugging Face model", () => {
  it("provides its checkpoint with the checksum from the Hub", async () => {
    lists(["README.md", "config.json", "weights/checkpoint-last.pth", "weights/other.pth"]);
    expect(await find("org/name@v1.0", { token: "secret" })).toMatchObject({
      name: "name",
      url: `${server.origin}/org/name/resolve/v1.0/weights/checkpoint-last.pth`,
      path: join(cache, "huggingface/org/name/v1.0/weights/checkpoint-last.pth"),
      sha256: sum,
      headers: { authorization: "Bearer secret" },
    });
    expect(server.requests[0].authorization).toBe("Bearer secret");
    const { url } = await find("org/name@refs/pr/1", { file: "README.md", endpoint: `${server.origin}/` });
    expect(url).toBe(`${server.origin}/org/name/resolve/refs%2Fpr%2F1/README.md`);
  });

  it.each<[string, string[], Partial<SourceOptions>, RegExp]>([
    ["several", ["a.pth", "b.pt"], {}, /has several checkpoints: a\.pth, b\.pt; pick one of them$/],
    ["none", ["model.gguf"], {}, /no checkpoint \(\.pth, \.pt, \.ckpt, \.bin or \.safetensors\) was found$/],
    ["several of one kind", ["a.safetensors", "b.safetensors"], {}, /has several checkpoints: a\.safetensors, b\./],
    ["another", ["a.pth"], { file: "b.pth" }, /^file: org\/name has no file "b\.pth"; did you mean "a\.pth"\?/],
    ["one outside", ["a.pth"], { file: "../../a.pth" }, /^file: expected the name of a file of org\/name/],
    ["one that would lead outside", ["../../../a.pth", "/a.pth", "x/\u001b[2Jb.pth"], {}, /no checkpoint/],
  ])("with %s of the files asked for is a sentence", async (_, names, options, sentence) => {
    lists(names);
    expect(await refusal("org/name", options)).toMatch(sentence);
  });

  it("provides its .safetensors only if there is no other checkpoint", async () => {
    lists(["README.md", "model.safetensors"]);
    expect((await find("org/name")).path).toMatch(/model\.safetensors$/);
    lists(["model.safetensors", "pytorch_model.bin"]);
    expect((await find("org/name")).path).toMatch(/pytorch_model\.bin$/);
  });

  it("that does not exist, or a server that is not a Hub, is reported in one sentence", async () => {
    server.answer = ({ response }) => response.writeHead(401).end();
    expect(await refusal("org/nmae")).toMatch(
      /^org\/nmae on 127\.0\.0\.1:\d+: there is no such model or revision, or it is private \(401\)/,
    );
    server.answer = ({ response }) => response.end("<html>");
    expect(await refusal("org/name")).toMatch(
      /cannot list the model's files \(the server sent an unexpected answer\); try/,
    );
    server.answer = ({ response }) => response.end('{"siblings": 3}');
    expect(await refusal("org/name")).toMatch(/the server sent an unexpected answer/);
    server.answer = ({ request }) => request.socket.destroy();
    expect(await refusal("org/name")).toMatch(/cannot list the model's files \(.*\); try again or name one of them/);
    expect(await refusal("org/name", { endpoint: "mirror" })).toMatch(/^HF_ENDPOINT: expected an address/);
  });

  it("on a mirror without listings is found by its file name", async () => {
    server.answer = ({ response }) => response.writeHead(404).end();
    const { url, sha256 } = await find("org/name", { file: "a.pth" });
    expect([url, sha256]).toEqual([`${server.origin}/org/name/resolve/main/a.pth`, undefined]);
  });

  it("offline is limited to downloaded files", async () => {
    expect(await refusal("org/name", { offline: true })).toMatch(/is in the cache, and downloading is switched off$/);
    const path = join(cache, "huggingface/org/name/main/x/a.pth");
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, "x");
    await writeFile(join(dirname(path), "half.pth"), "x");
    await recordSha256(path, sum);
    expect((await find("org/name", { offline: true })).path).toBe(path);
    expect(server.requests).toEqual([]);
  });

  it("cannot escape from the cache", async () => {
    for (const text of ["../..", "../name", "org/.."]) expect(await refusal(text)).toMatch(/folder|no model or file/);
  });
});

/**
 * The package as users get it: packed like a release, installed into an empty project, and used by import, by require, with types
 * and from the command line.
 */

import { type ExecFileOptions, execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { thorough } from "./test-depth.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end. Throws only if it cannot be started. */
async function run(program: string, args: readonly string[], options: ExecFileOptions): Promise<Ended> {
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, { ...options, encoding: "utf8" });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as Ended & { code: unknown };
    if (typeof code !== "number") throw error;
    return { code, stdout, stderr };
  }
}

const npm = process.platform === "win32" ? "npm.cmd" : "npm";
const unreachable = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ENOTCACHED/;

let folder: string;
/** The project that the package is installed into, and a folder inside it. */
let project: string;
let elsewhere: string;
let packed: string[] = [];
let skipped = "";

beforeAll(async () => {
  if (!thorough) return;
  folder = await mkdtemp(join(tmpdir(), "fractalgen-package-"));
  // A copy, because packing replaces dist.
  const source = join(folder, "source");
  await mkdir(source);
  const tsconfigs = ["", ".build", ".web", ".worker"].map((kind) => `tsconfig${kind}.json`);
  for (const name of [
    "package.json",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "vite.config.ts",
    "src",
    "models",
    ...tsconfigs,
  ])
    await cp(join(root, name), join(source, name), { recursive: true });
  await symlink(join(root, "node_modules"), join(source, "node_modules"));
  const pack = await run(npm, ["pack", "--ignore-scripts=false", "--silent", "--json"], { cwd: source });
  if (pack.code !== 0) throw new Error(pack.stdout + pack.stderr);
  const [{ filename, files }] = JSON.parse(pack.stdout.slice(pack.stdout.lastIndexOf("\n["))) as {
    filename: string;
    files: { path: string }[];
  }[];
  packed = files.map(({ path }) => path);

  project = join(folder, "project");
  elsewhere = join(project, "some", "folder");
  await mkdir(elsewhere, { recursive: true });
  await writeFile(join(project, "package.json"), JSON.stringify({ name: "project", private: true, type: "module" }));
  const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1"];
  const install = await run(npm, ["install", "--ignore-scripts", ...quiet, join(source, filename)], { cwd: project });
  if (install.code !== 0 && unreachable.test(install.stderr)) {
    skipped = "no package registry is reachable, and npm's cache lacks a dependency";
    console.warn(`the package is not installed: ${skipped}`);
    return;
  }
  if (install.code !== 0) throw new Error(install.stdout + install.stderr);
  await mkdir(join(project, "node_modules", "@types"), { recursive: true });
  for (const name of ["@types/node", "undici-types"])
    await symlink(join(root, "node_modules", name), join(project, "node_modules", name));
}, 600_000);
afterAll(() => thorough && rm(folder, { recursive: true, force: true }));

it.runIf(thorough)("the tarball has the build, the studio and the shipped model, but no tests or sources", () => {
  for (const name of [
    "cli/main.js",
    "index.js",
    "index.d.ts",
    "graph/index.js",
    "levels/index.js",
    "browser.js",
    "web/index.html",
  ])
    expect(packed).toContain(`dist/${name}`);
  expect(packed).toContain("models/emoji/model.safetensors");
  expect(packed.filter((path) => /(^src\/|\.test\.|\/test-)/.test(path))).toEqual([]);
});

describe.runIf(thorough)("an installed package", () => {
  const node = async (name: string, code: string): Promise<Ended> => {
    await writeFile(join(project, name), code);
    return run(process.execPath, [join(project, name)], { cwd: elsewhere });
  };

  it("can be imported from any folder", { timeout: 300_000 }, async (context) => {
    context.skip(skipped !== "", skipped);
    const code = `
      import { createSampler, externalModel, findModel, nodeEngine } from "fractalgen";
      import { add, input, writeOnnx } from "fractalgen/graph";
      import { registerLevelKind } from "fractalgen/levels";
      import { edit, webEngine } from "fractalgen/browser";
      const engine = await nodeEngine({ threads: 1 });
      const session = await engine.session(writeOnnx({ y: add(input("x", "float32", [2]), 1) }));
      const { y } = await session.run({ x: { dtype: "float32", shape: [2], data: Float32Array.of(1, 2) } });
      const sampler = createSampler(engine, externalModel(await findModel("emoji")));
      console.log([...y.data].join(), sampler.config.imageSize, typeof registerLevelKind, typeof edit, typeof webEngine);`;
    const stdout = "2,3 32 function function function\n";
    expect(await node("import.mjs", code)).toEqual({ code: 0, stdout, stderr: "" });
  });

  it("can be required if Node can require ES modules", { timeout: 300_000 }, async (context) => {
    context.skip(skipped !== "", skipped);
    const [major, minor] = process.versions.node.split(".").map(Number);
    const able = major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19);
    const code = `
      const { findModel } = require("fractalgen");
      const { gradients } = require("fractalgen/graph");
      const { registerLevelKind } = require("fractalgen/levels");
      const { webEngine } = require("fractalgen/browser");
      const { version } = require("fractalgen/package.json");
      findModel("emoji").then(({ config }) => console.log(version, config.imageSize, typeof gradients, typeof registerLevelKind, typeof webEngine));`;
    const { code: exit, stdout, stderr } = await node("require.cjs", code);
    if (able)
      expect({ exit, stdout, stderr }).toEqual({
        exit: 0,
        stdout: `${version} 32 function function function\n`,
        stderr: "",
      });
    else expect(stderr).toContain("ERR_REQUIRE_ESM");
  });

  it("has types under every module resolution", { timeout: 300_000 }, async (context) => {
    context.skip(skipped !== "", skipped);
    await writeFile(
      join(project, "types.ts"),
      `import { findModel, type Frame, fractalServer, parallelSampler, type SampleOptions } from "fractalgen";
       import { gradients, input, mul, type Tensor } from "fractalgen/graph";
       import { type Declare, declareDense, dense } from "fractalgen/levels";
       export const layer = (declare: Declare, x: Tensor): Tensor => dense(declareDense(declare, "fc", [4, 8]), x);
       const x: Tensor = input("x", "float32", []);
       const [dx]: Tensor[] = gradients(mul(x, x), [x]);
       const sampler = parallelSampler(await findModel("emoji"));
       const options: SampleOptions = { labels: [0] };
       for await (const { done } of sampler.sample(options)) console.log(done satisfies Frame["done"], dx, fractalServer);
       // @ts-expect-error a label is a number
       sampler.sample({ labels: ["face"] });\n`,
    );
    await writeFile(
      join(project, "page.ts"),
      `import { createSampler, fetchModel, webEngine } from "fractalgen/browser";
       export const open = async (runtime: Parameters<typeof webEngine>[0]) => {
         const model = await fetchModel("model/", () => {});
         return createSampler(await webEngine(runtime, { files: model.files }), model);
       };
       // @ts-expect-error progress is a function
       void fetchModel("model/", 1);\n`,
    );
    await writeFile(
      join(project, "types.cts"),
      `import graph = require("fractalgen/graph");\ngraph.gradients satisfies object;\n`,
    );
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const check = (files: string[], module: string, more: string[] = []) => {
      const strict = ["--noEmit", "--strict", "--target", "es2023", "--types", "node"];
      return run(process.execPath, [tsc, ...strict, "--module", module, ...more, ...files], { cwd: project });
    };
    const right = { code: 0, stdout: "", stderr: "" };
    expect(await check(["types.ts"], "node16")).toEqual(right);
    // node16 means a Node that cannot require ES modules, so TypeScript refuses it there.
    expect(await check(["types.ts", "types.cts"], "node20")).toEqual(right);
    // The page needs the DOM, and the types of onnxruntime-web, which is not installed here.
    const page = ["--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable", "--skipLibCheck"];
    expect(await check(["types.ts", "page.ts"], "esnext", page)).toEqual(right);
  });

  it(
    "has a command line that draws with the shipped model from another folder",
    { timeout: 300_000 },
    async (context) => {
      context.skip(skipped !== "", skipped);
      const npx = process.platform === "win32" ? "npx.cmd" : "npx";
      const told = await run(npx, ["--no", "--", "fractalgen", "--version"], { cwd: elsewhere });
      expect(told).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
      const args = ["--no", "--", "fractalgen", "sample", "--class", "heart", "-n", "1", "--iterations", "1,1"];
      const drawn = await run(npx, [...args, "--out", "heart.png"], { cwd: elsewhere });
      expect(drawn.code, drawn.stderr).toBe(0);
      expect(existsSync(join(elsewhere, "heart.png"))).toBe(true);
    },
  );
});

it("npm run docs writes the API reference without warnings", { timeout: 600_000 }, async (context) => {
  context.skip(process.env["FRACTALGEN_TEST_DOCS"] !== "1", "it takes a minute; FRACTALGEN_TEST_DOCS=1 tests it");
  const out = join(folder, "api");
  const { code, stdout, stderr } = await run(npm, ["run", "docs", "--", "--out", out], { cwd: root });
  context.skip(code !== 0 && unreachable.test(stderr), "no package registry is reachable");
  expect(code, stdout + stderr).toBe(0);
  expect(existsSync(join(out, "index.html"))).toBe(true);
});

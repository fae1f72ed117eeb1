/**
 * The Node engine: weights read from their file, outputs in place, missing providers, and no files written to the home
 * folder.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { float32, type HostTensor, int32, product } from "../core/arrays.ts";
import { normal, seedKey } from "../core/random.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { add, input, linear, matmul, mul, parameter, sum } from "../graph/build.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { named } from "../graph/tree.ts";
import { stepGraph } from "../model/steps.ts";
import { modelParameters, startingValue } from "../model/parameters.ts";
import { nodeEngine } from "./node.ts";
import { builtUrl } from "../test-program.ts";

const engine = await nodeEngine();

let dir: string;
beforeAll(() => void (dir = mkdtempSync(join(tmpdir(), "engine-"))));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const random = (shape: number[], seed: number) =>
  float32(
    Float32Array.from({ length: product(shape) }, (_, i) => normal(seedKey(seed), i)),
    shape,
  );

describe("weights in a file", () => {
  const config: ModelConfig = parseModelConfig(
    {
      imageSize: 4,
      classes: ["one"],
      levels: [
        { kind: "mar", patch: 1, width: 64, depth: 2, heads: 4 },
        { kind: "pixel", width: 32, depth: 1, heads: 2 },
      ],
    },
    "test",
  );
  const values = new Map(modelParameters(config).map((p, i) => [p.name, startingValue(p, seedKey(i))]));

  it("are not in the model, and give the same results as weights passed as inputs", async () => {
    const folder = join(dir, "model");
    await writeModelFolder(folder, config, values);
    const { weights } = externalModel(readModelFolder(folder));
    const graph = named(stepGraph(config, 0, { guided: false }));
    const external = writeOnnx(graph, { weights });
    const given = writeOnnx(graph);
    const used = given.inputs.filter((name) => values.has(name));
    const weightBytes = used.reduce((total, name) => total + values.get(name)!.byteLength, 0);
    expect(weightBytes).toBeGreaterThan(400_000);
    expect(external.bytes.length).toBeLessThan(weightBytes / 20);
    expect(external.inputs).toEqual(given.inputs.filter((name) => !values.has(name)));

    const feeds: Record<string, HostTensor> = {
      prefix: random([2, 5, 64], 1),
      patches: random([2, 16, 3], 2),
      mask: float32(
        Float32Array.from({ length: 32 }, (_, i) => i % 2),
        [2, 16],
      ),
      read: int32([5, 6, 9, 12], [2, 2]),
      take: int32([0, 3], [2, 1]),
    };
    const shapes = new Map(modelParameters(config).map(({ name, shape }) => [name, shape]));
    const parameters = Object.fromEntries(used.map((name) => [name, float32(values.get(name)!, shapes.get(name)!)]));
    const fromFile = await engine.session(external, { folder });
    const fromInputs = await engine.session(given);
    expect([...fromFile.inputs].sort()).toEqual([...external.inputs].sort());
    const expected = (await fromInputs.run({ ...feeds, ...parameters })).conditions;
    const got = (await fromFile.run(feeds)).conditions;
    await fromFile.dispose();
    await fromInputs.dispose();
    expect(got.shape).toEqual([2, 1, 64]);
    const worst = Math.max(...(got.data as Float32Array).map((x, i) => Math.abs(x - (expected.data[i] as number))));
    expect(worst).toBeLessThan(1e-5); // prepacked weights may be summed in a different order
    expect(Math.max(...(got.data as Float32Array))).toBeGreaterThan(0.1);
  });

  it.each([0, 1, 3, 5, 6, 4097])("are found at offset %i, aligned or not", async (offset) => {
    const weight = random([3, 40], 3);
    const bias = random([3], 4);
    const bytes = new Uint8Array(offset + 480 + 1 + 12).fill(0xff);
    bytes.set(new Uint8Array(weight.data.buffer), offset);
    bytes.set(new Uint8Array(bias.data.buffer), offset + 480 + 1);
    writeFileSync(join(dir, "raw.bin"), bytes);
    const at = { weight: { offset, bytes: 480 }, bias: { offset: offset + 481, bytes: 12 } };
    const x = random([2, 40], 5);
    const y = linear(input("x", "float32", ["N", 40]), parameter("weight", [3, 40]), parameter("bias", [3]));
    const model = writeOnnx({ y }, { weights: (name) => ({ file: "raw.bin", ...at[name as keyof typeof at] }) });
    const session = await engine.session(model, { folder: dir });
    const result = await session.run({ x });
    await session.dispose();
    for (let n = 0; n < 2; n++)
      for (let d = 0; d < 3; d++) {
        let expected = bias.data[d];
        for (let e = 0; e < 40; e++) expected += x.data[n * 40 + e] * weight.data[d * 40 + e];
        expect(result.y.data[n * 3 + d]).toBeCloseTo(expected, 4);
      }
  });

  it("that are truncated cause an error, and so does a missing file", async () => {
    writeFileSync(join(dir, "short.bin"), new Uint8Array(100));
    for (const [file, problem] of [
      ["short.bin", /size to read: 400 given file_length: 100/],
      ["none.bin", /none\.bin/],
    ] as const) {
      const model = writeOnnx(
        { y: add(input("x", "float32", [100]), parameter("w", [100])) },
        { weights: () => ({ file, offset: 0, bytes: 400 }) },
      );
      await expect(engine.session(model, { folder: dir })).rejects.toThrow(problem);
    }
  });
});

describe("run", () => {
  const x = input("x", "float32", ["N", 2]);
  const model = writeOnnx({ double: mul(x, 2), total: sum(x, [0, 1]) });

  it("writes outputs into the given arrays, and allocates the others", async () => {
    const session = await engine.session(model);
    const double = float32(new Float32Array(4), [2, 2]);
    const results = await session.run({ x: float32([1, 2, 3, 4], [2, 2]) }, { double });
    expect(results.double).toBe(double);
    expect([...double.data]).toEqual([2, 4, 6, 8]);
    expect(results.total).toEqual({ dtype: "float32", shape: [], data: Float32Array.of(10) });
    await session.run({ x: float32([5, 6, 7, 8], [2, 2]) }, { double }); // again, as in every training step
    expect([...double.data]).toEqual([10, 12, 14, 16]);
    await session.dispose();
  });

  it("rejects an array whose size differs from the output", async () => {
    const session = await engine.session(model);
    const double = float32(new Float32Array(2), [1, 2]);
    await expect(session.run({ x: float32([1, 2, 3, 4], [2, 2]) }, { double })).rejects.toThrow(/shape|dimension/i);
    expect([...double.data]).toEqual([0, 0]);
    await session.dispose();
  });

  it("names a missing input", async () => {
    const session = await engine.session(
      writeOnnx({ y: add(input("left", "float32", [1]), input("right", "float32", [1])) }),
    );
    await expect(session.run({ left: float32([1], [1]) })).rejects.toThrow("run: the input right was not given");
    await session.dispose();
  });

  it("names an input of the wrong shape", async () => {
    const session = await engine.session(model);
    await expect(session.run({ x: float32([1, 2, 3], [1, 3]) })).rejects.toThrow(/\bx\b/);
    await session.dispose();
  });

  it("is not affected by other sessions", async () => {
    const sessions = await Promise.all([1, 2, 3].map((by) => engine.session(writeOnnx({ y: mul(x, by) }))));
    const results = await Promise.all(sessions.map((session) => session.run({ x: float32([1, 5], [1, 2]) })));
    expect(results.map(({ y }) => [...y.data])).toEqual([
      [1, 5],
      [2, 10],
      [3, 15],
    ]);
    await Promise.all(sessions.map((session) => session.dispose()));
  });
});

describe("an unavailable provider", () => {
  it("falls back to the CPU, with the reason in one line", async (context) => {
    const cuda = await nodeEngine({ provider: "cuda" });
    if (cuda.provider === "cuda") return context.skip("CUDA is installed here");
    expect(cuda.provider).toBe("cpu");
    expect(cuda.fallback).toMatch(/^cuda is not available here: \S.*$/);
    expect(cuda.fallback).not.toMatch(/onnxruntime_src|undefined/);
    const session = await cuda.session(
      writeOnnx({ y: matmul(input("a", "float32", [1, 2]), input("b", "float32", [2, 1])) }),
    );
    const { y } = await session.run({ a: float32([1, 2], [1, 2]), b: float32([3, 4], [2, 1]) });
    expect([...y.data]).toEqual([11]);
    await session.dispose();
  });
});

const url = (module: string) => JSON.stringify(builtUrl(module));
const use = `
    const { nodeEngine } = await import(${url("engine/node")});
    const { add, input } = await import(${url("graph/build")});
    const { writeOnnx } = await import(${url("graph/onnx")});
    const engine = await nodeEngine();
    const session = await engine.session(writeOnnx({ y: add(input("x", "float32", [1]), 1) }));
    const { y } = await session.run({ x: { dtype: "float32", shape: [1], data: Float32Array.of(41) } });
    console.log("answer", y.data[0]);`;

describe("threads", () => {
  const canRestrict = cpus().length > 1 && spawnSync("taskset", ["--version"]).status === 0;

  it.runIf(canRestrict)("stay on the cores that the process may use", () => {
    const code = `${use}
    const { readdirSync, readFileSync } = await import("node:fs");
    for (const thread of readdirSync("/proc/self/task"))
      console.log(/Cpus_allowed_list:\\s*(.*)/.exec(readFileSync("/proc/self/task/" + thread + "/status", "utf8"))[1]);`;
    const { FRACTALGEN_THREADS: _, ...env } = process.env; // the tests set it
    const args = ["-c", "0", process.execPath, "--input-type=module", "--eval", code];
    const [answer, ...cores] = execFileSync("taskset", args, { encoding: "utf8", env }).trim().split("\n");
    expect(answer).toBe("answer 42");
    expect(new Set(cores)).toEqual(new Set(["0"]));
  });
});

describe("telemetry", () => {
  const inWorker = (before: string) => `
    ${before}
    const { Worker } = await import("node:worker_threads");
    const code = ${JSON.stringify(`(async () => { ${use} })()`)};
    const worker = new Worker(code, { eval: true });
    worker.on("error", (error) => console.log(error.message));
    await new Promise((resolve) => worker.on("exit", resolve));`;

  /** The output of a child process, and the files it leaves in its own home folder. */
  function child(code: string, name: string): { output: string; left: string[] } {
    const home = join(dir, name);
    mkdirSync(home);
    const inherited = Object.entries(process.env).filter(
      ([key]) => !/^(ORT_|XDG_|HOME$|VITEST|NODE_OPTIONS)/.test(key),
    );
    const output = execFileSync(process.execPath, ["--input-type=module", "--eval", code], {
      env: { ...Object.fromEntries(inherited), HOME: home, USERPROFILE: home },
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
      encoding: "utf8",
    });
    return { output: output.trim(), left: readdirSync(home) };
  }

  it("is off: a process that runs a session leaves nothing in its home folder", () => {
    expect(child(use, "home")).toEqual({ output: "answer 42", left: [] });
  });

  it("is off in a worker if the main thread disabled it; otherwise the worker refuses to run", () => {
    const off = `(await import(${url("engine/node")})).disableTelemetry();`;
    expect(child(inWorker(off), "worker-home")).toEqual({ output: "answer 42", left: [] });
    const { output, left } = child(inWorker(""), "bare-home");
    expect(output).toMatch(/^nodeEngine: a worker cannot turn onnxruntime's telemetry off; call disableTelemetry\(\)/);
    expect(left).toEqual([]);
  });
});

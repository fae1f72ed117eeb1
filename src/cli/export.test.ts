/** `fractalgen export`: a program that knows only the manifest and onnxruntime generates the same images. */

import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema } from "onnx-buf";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { disableTelemetry, nodeEngine } from "../engine/node.ts";
import { exportOnnx } from "../files/export.ts";
import { externalModel } from "../files/external.ts";
import { type ModelFolder, readModelFolder, writeModelFolder } from "../files/model.ts";
import { quantizeFolder } from "../files/quantize.ts";
import type { Draws } from "../sample/draws.ts";
import { createSampler } from "../sample/sampler.ts";
import { startingState } from "../train/state.ts";
import { call } from "./test-call.ts";
import { firstOf, thorough } from "../test-depth.ts";

disableTelemetry(); // must precede loading the library
const { default: runtime } = await import("onnxruntime-node");

let dir: string;
let out: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "export-"));
  out = join(dir, "onnx");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const config = (levels: object[], sampling: object): ModelConfig =>
  parseModelConfig(
    {
      imageSize: 8,
      classes: ["one", "two"],
      levels: [...levels, { kind: "pixel", width: 16, depth: 1, heads: 2 }],
      sampling,
    },
    "the test",
  );
const size = { width: 32, depth: 2, heads: 2 };

/** Neighbours' conditions, guiding pixels, and fewer steps than patches: everything that affects the order of calls. */
const mar = config(
  [
    { kind: "mar", patch: 4, ...size },
    { kind: "mar", patch: 2, ...size, guidingPixel: true },
    { kind: "mar", patch: 1, ...size, conditions: 1, guidingPixel: true },
  ],
  { guidance: 3, temperature: 1.5, filterThreshold: 0.002, iterations: [3, 2, 4] },
);
const ar = config(
  [
    { kind: "ar", patch: 4, ...size },
    { kind: "mar", patch: 2, ...size, conditions: 1 },
    { kind: "ar", patch: 1, ...size, conditions: 3 },
  ],
  { guidance: 2, temperature: 1, schedule: "constant", minP: 0.001, topP: 0.97 },
);

/** Weights far from the initial ones; with those, all bytes would be about equally likely whatever the graphs compute. */
async function randomModel(model: ModelConfig): Promise<ModelFolder> {
  const { values } = startingState(model, 5, { ema: 0 });
  for (const [name, value] of values)
    if (!/norm|_ln\.|\.ln\./.test(name)) for (let i = 0; i < value.length; i++) value[i] *= 3;
  await writeModelFolder(join(dir, "model"), model, values);
  return readModelFolder(join(dir, "model"));
}

/** A fixed sequence of numbers in [0, 1) (mulberry32). */
function stream(): () => number {
  let state = 7;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.fround(((t ^ (t >>> 14)) >>> 0) / 2 ** 32) % 1;
  };
}

function orderFrom(next: () => number, tokens: number): number[] {
  const keys = Array.from({ length: tokens }, () => next());
  return keys.map((_, i) => i).sort((a, b) => keys[a] - keys[b]);
}

/** The sampler's draws from the stream, in the order in which it requests them. */
function streamDraws(next: () => number): Draws {
  return {
    orders: ({ keys }, tokens) => Int32Array.from(keys.flatMap(() => orderFrom(next, tokens))),
    uniforms: ({ keys }, channels) => Float32Array.from({ length: keys.length * channels }, next),
  };
}

async function ours(folder: ModelFolder, labels: number[], guidance?: number): Promise<Uint8Array> {
  const sampler = createSampler(await nodeEngine(), externalModel(folder));
  const frames = sampler.sample({ labels, draws: streamDraws(stream()), guidance });
  let frame = await frames.next();
  while (!frame.done) frame = await frames.next();
  await sampler.dispose();
  return frame.value;
}

/** Converts {"session.a": "1"} to the form that onnxruntime-node accepts, {session: {a: "1"}}. */
const nested = (options: Record<string, string>) => ({
  session: Object.fromEntries(Object.entries(options).map(([name, value]) => [name.replace("session.", ""), value])),
});

type Feeds = Record<string, { data: ArrayLike<number>; shape: number[] } | Tensor>;

/** Generates images from the exported files alone, following the manifest's `calls`. Returns values [image][C * S * S]. */
async function theirs(folder: string, labels: number[], given?: number): Promise<Uint8Array> {
  const description = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
  const { levels, sampling, channels, values, nullClass, imageSize } = description;
  const w = given ?? sampling.guidance;
  const guided = w !== 1;
  const way = guided ? "guided" : "plain";
  const twice = <T>(rows: T[]): T[] => (guided ? [...rows, ...rows] : rows);
  const next = stream();
  const sessions = new Map<string, InferenceSession>();
  const options = { extra: nested(description.sessionOptions ?? {}) };

  const runGraph = async (file: string, feeds: Feeds) => {
    if (!sessions.has(file)) sessions.set(file, await runtime.InferenceSession.create(join(folder, file), options));
    const { inputs } = description.graphs[file];
    const tensors = inputs.map(
      ({ name, type, shape }: { name: string; type: "float32" | "int32"; shape: unknown[] }) => {
        const feed = feeds[name];
        if ("dims" in feed) return [name, feed];
        expect(feed.shape.length, `${file} ${name}`).toBe(shape.length);
        shape.forEach((size, axis) => typeof size === "number" && expect(feed.shape[axis]).toBe(size));
        const data = type === "int32" ? Int32Array.from(feed.data) : Float32Array.from(feed.data);
        return [name, new runtime.Tensor(type, data as never, feed.shape)];
      },
    );
    return sessions.get(file)!.run(Object.fromEntries(tensors));
  };

  /** The values of each pixel, one per channel. */
  const pixels = async (file: string, conditions: Tensor, g: number): Promise<number[][]> => {
    const count = conditions.dims[0] / (guided ? 2 : 1);
    const uniforms = { data: Array.from({ length: count * channels }, next), shape: [count, channels] };
    const scalar = (number: number) => ({ data: [number], shape: [] });
    const numbers = Object.entries(sampling).filter((entry): entry is [string, number] => typeof entry[1] === "number");
    const settings = Object.fromEntries(numbers.map(([name, value]) => [name, scalar(value)]));
    const { bytes } = await runGraph(file, {
      conditions,
      uniforms,
      ...settings,
      guidance: scalar(g),
    });
    return Array.from({ length: count }, (_, i) =>
      Array.from({ length: channels }, (_, c) => values[c][Number(bytes.data[i * channels + c])]),
    );
  };

  /** The values of each row's square, [C, side, side], concatenated. */
  const squares = async (l: number, given: Feeds, rows: number, g: number): Promise<number[][]> => {
    const { kind, grid, patch, tokens, depth, heads, headWidth, before, conditionsFrom, ...files } = levels[l];
    const inputs = { ...given };
    if (files.guiding) {
      const colours = twice(await pixels(files.guiding[way], given["conditions"] as Tensor, g));
      inputs["colour"] = { data: colours.flat(), shape: [colours.length, channels] };
    }
    const { prefix } = await runGraph(files.begin, inputs);
    const drawn: number[][][] = Array.from({ length: rows }, () => []); // by row and patch
    const width = channels * patch * patch;
    const strength = (done: number) => (l > 0 || sampling.schedule === "constant" ? g : 1 + (g - 1) * done);
    const inside = async (places: number[][], conditions: Tensor, done: number) => {
      const count = places.flat().length;
      const found =
        l + 1 < levels.length
          ? await squares(l + 1, { conditions }, count, strength(done))
          : await pixels(description.pixels[way], conditions, strength(done));
      places.forEach((of, row) => of.forEach((place) => (drawn[row][place] = found.shift()!)));
    };
    if (kind === "ar") {
      const pairs = (guided ? 2 : 1) * rows * heads;
      const room = () => Array.from({ length: depth }, () => new Float32Array(pairs * headWidth * tokens));
      const [keys, values] = [room(), room()];
      for (let s = 0; s < tokens; s++) {
        const shape = [pairs / heads, heads];
        const past: Feeds = {};
        for (let i = 0; i < depth; i++) {
          past[`keys.${i}`] = { data: keys[i], shape: [...shape, tokens, headWidth] };
          past[`values.${i}`] = { data: values[i], shape: [...shape, tokens, headWidth] };
        }
        const previous = drawn.flatMap((row) => row[s - 1] ?? new Array(width).fill(0));
        const result = await runGraph(files.step[way], {
          ...past,
          prefix,
          patch: { data: previous, shape: [rows, width] },
          position: { data: [s], shape: [1] },
          seen: { data: Array.from({ length: tokens }, (_, at) => (at < s ? 0 : -1e30)), shape: [tokens] },
        });
        for (let i = 0; i < depth; i++)
          for (let pair = 0; pair < pairs; pair++)
            for (let at = 0; at < headWidth; at++) {
              const from = pair * headWidth + at;
              const to = (pair * tokens + s) * headWidth + at;
              keys[i][to] = result[`key.${i}`].data[from] as number;
              values[i][to] = result[`value.${i}`].data[from] as number;
            }
        await inside(
          drawn.map(() => [s]),
          result["conditions"] as Tensor,
          (s + 1) / tokens,
        );
      }
    } else {
      const orders = drawn.map(() => orderFrom(next, tokens));
      const n = Math.min(tokens, sampling.iterations[l]);
      for (let s = 0, masked = tokens; s < n; s++) {
        const left = Math.max(1, Math.min(masked - 1, Math.floor(tokens * Math.cos(((Math.PI / 2) * (s + 1)) / n))));
        const until = s === n - 1 ? 0 : left;
        const places = orders.map((order) => order.slice(until, masked).sort((a, b) => a - b));
        masked = until;
        if (places[0].length === 0) continue;
        const all = twice(places);
        const read = all.map(() => Array.from({ length: tokens }, (_, i) => before + i));
        const take = all.flatMap((of, row) =>
          of.map((place) =>
            conditionsFrom.map(([down, right]: [number, number]) => {
              const [y, x] = [Math.floor(place / grid) + down, (place % grid) + right];
              return Math.min(x, y) < 0 || Math.max(x, y) >= grid ? all.length * tokens : row * tokens + y * grid + x;
            }),
          ),
        );
        const each = (which: (patch: number[] | undefined) => number[]) =>
          drawn.flatMap((row) => Array.from({ length: tokens }, (_, i) => which(row[i])).flat());
        const { conditions } = await runGraph(files.step[way], {
          prefix,
          patches: { data: each((of) => of ?? new Array(width).fill(0)), shape: [rows, tokens, width] },
          mask: { data: each((of) => [of ? 0 : 1]), shape: [rows, tokens] },
          read: { data: read.flat(), shape: [all.length, tokens] },
          take: { data: take.flat(), shape: [take.length, conditionsFrom.length] },
        });
        await inside(places, conditions as Tensor, (tokens - left) / tokens);
      }
    }
    const side = grid * patch;
    return drawn.map((row) => {
      const square = new Array<number>(channels * side * side);
      row.forEach((patchValues, place) =>
        patchValues.forEach((value, i) => {
          const [c, y, x] = [Math.floor(i / patch ** 2), Math.floor(i / patch) % patch, i % patch];
          square[(c * side + Math.floor(place / grid) * patch + y) * side + (place % grid) * patch + x] = value;
        }),
      );
      return square;
    });
  };

  const classes = guided ? [...labels, ...labels.map(() => nullClass)] : labels;
  const images = await squares(0, { labels: { data: classes, shape: [classes.length] } }, labels.length, w);
  for (const session of sessions.values()) await session.release();
  return Uint8Array.from(
    images.flatMap((image) =>
      Array.from({ length: image.length }, (_, i) => {
        const [c, pixel] = [i % channels, Math.floor(i / channels)];
        return values[c].indexOf(image[c * imageSize ** 2 + pixel]);
      }),
    ),
  );
}

describe("a program that knows only the manifest generates the same images", () => {
  const ways: [string, typeof mar, number | undefined][] = [
    ["MAR with guiding pixels, guided", mar, undefined],
    ["AR and MAR, without guidance", ar, 1],
    ["MAR with guiding pixels, without guidance", mar, 1],
    ["AR and MAR, guided", ar, undefined],
  ];

  it.each(firstOf(ways))("%s", async (_, model, guidance) => {
    await agree(await randomModel(model), guidance);
  });

  it.each(firstOf(["q8", "float16"] as const))("also with weights in %s", async (dtype) => {
    const quantized = join(dir, dtype);
    await quantizeFolder(await randomModel(ar), quantized, { dtype });
    await agree(readModelFolder(quantized));
  });

  it.runIf(thorough)("also if the model's weights are a symbolic link", async () => {
    const { folder } = await randomModel(ar);
    renameSync(join(folder, "model.safetensors"), join(dir, "blob"));
    symlinkSync("../blob", join(folder, "model.safetensors"));
    await agree(readModelFolder(folder));
  });

  async function agree(folder: ModelFolder, guidance?: number): Promise<void> {
    const labels = [0, 1, 1];
    const expected = await ours(folder, labels, guidance);
    await exportOnnx(folder, out);
    rmSync(folder.folder, { recursive: true }); // the exported files need nothing else
    const got = await theirs(out, labels, guidance);
    expect(Buffer.from(got).equals(Buffer.from(expected))).toBe(true);
    expect(new Set(expected).size).toBeGreaterThan(50);
  }
});

const exportTo = (...args: string[]) => call("export", ...args);

describe("export", () => {
  it("writes the graphs, one weight file and the manifest, and prints their number and size", async () => {
    const { folder } = await randomModel(mar);
    const { code, out: said, err } = await exportTo(folder, "--onnx", out);
    expect([code, said]).toEqual([0, `${out}\n`]);
    expect(err).toMatch(/^15 graphs, \d\.\d MB including their weights\n$/);
    const { graphs, classes, weights } = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
    expect(classes).toEqual(["one", "two"]);
    expect(readdirSync(out).sort()).toEqual([...Object.keys(graphs), "manifest.json", weights].sort());
    expect(readFileSync(join(out, weights)).equals(readFileSync(join(folder, weights)))).toBe(true);
  });

  it.each([
    ["AR", ar, { opset: 23, onnxruntime: "1.23" }],
    ["MAR", mar, { opset: 21, onnxruntime: "1.18" }],
  ])("the manifest of a model with %s levels says which onnxruntime it requires", async (_, model, requires) => {
    await exportOnnx(await randomModel(model), out);
    expect(JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"))).toMatchObject({ requires });
    const opsets = readdirSync(out)
      .filter((name) => name.endsWith(".onnx"))
      .map((name) => fromBinary(ModelProtoSchema, readFileSync(join(out, name))).opsetImport[0].version);
    expect(Math.max(...opsets.map(Number))).toBe(requires.opset);
  });

  it("an aborted export leaves nothing behind", async () => {
    const folder = await randomModel(mar);
    const controller = new AbortController();
    const exported = exportOnnx(folder, out, { signal: controller.signal, onProgress: () => controller.abort() });
    await expect(exported).rejects.toThrow(/abort/i);
    expect(readdirSync(dir)).toEqual(["model"]);
  });

  it.each([
    ["no --onnx", () => ["emoji"], /--onnx/],
    ["an existing folder", () => ["emoji", "--onnx", dir], /--onnx: .* already exists; choose a new folder name$/],
    ["an unknown model", () => ["emojy", "--onnx", out], /there is no model "emojy".*did you mean "emoji"\?$/],
    [
      "a model without weights",
      () => (writeFileSync(join(dir, "config.json"), JSON.stringify(mar)), [dir, "--onnx", out]),
      /model\.safetensors: there is no such file/,
    ],
  ] as [string, () => string[], RegExp][])("%s is one sentence", async (_, args, sentence) => {
    const { code, err, out: said } = await exportTo(...args());
    expect([code, said]).toEqual([2, ""]);
    expect(err.trim()).toMatch(sentence);
    expect(err.trim()).not.toContain("\n");
    expect(existsSync(out)).toBe(false);
  });
});

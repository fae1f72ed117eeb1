/** A widened model computes the same as the narrower one, and its copies learn different things. */

import { expect, it } from "vitest";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { float32, type HostTensor, product } from "../core/arrays.ts";
import { derive, normal, seedKey } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { gradients } from "../graph/gradient.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { named, runTree } from "../graph/tree.ts";
import { lossGraph } from "./loss.ts";
import { modelParameters } from "./parameters.ts";
import { lossFeeds, planPass } from "./plan.ts";
import { growthOf, widening } from "./widen.ts";

const configOf = (
  width: number,
  heads: number,
  {
    depth = 2,
    above = 16,
    first = 16,
    channels = 3,
    qkNorm = undefined as boolean | undefined,
    kinds = "ar" as "ar" | "mar-ar" | "mar",
  } = {},
) =>
  parseModelConfig(
    {
      imageSize: 8,
      channels,
      classes: ["a", "b"],
      levels: [
        { kind: kinds === "ar" ? "ar" : "mar", patch: 4, width: first, depth: 1, heads: first / 8 },
        {
          ...(kinds === "mar" ? { kind: "mar", guidingPixel: true } : { kind: "ar" }),
          ...(kinds === "ar" ? {} : { conditions: 5 }),
          patch: 1,
          width: above,
          depth: 2,
          heads: above / 8,
          ...(qkNorm === undefined ? {} : { qkNorm }),
        },
        { kind: "pixel", width, depth, heads },
      ],
    },
    "the test",
  );

const narrow = configOf(16, 2);

it("needs a multiple of the width and as many times the heads, and all else the same", () => {
  const pixels = (to: ModelConfig, from = narrow) => growthOf(from, to, 2);
  expect(pixels(narrow)).toEqual({ own: 1, above: 1 });
  expect(pixels(configOf(32, 4))).toEqual({ own: 2, above: 1 });
  expect(pixels(configOf(48, 6, { above: 32 }))).toEqual({ own: 3, above: 2 });
  expect(pixels(narrow, configOf(32, 4))).toMatch(/width 16 is not a multiple of 32/);
  expect(pixels(configOf(32, 2))).toBe("heads 2 instead of 4");
  expect(pixels(configOf(24, 3))).toBe("width 24 is not a multiple of 16");
  expect(pixels(configOf(32, 4, { depth: 1 }))).toBe("depth 1 instead of 2");
  expect(pixels(configOf(16, 2, { channels: 1 }))).toBe("channels 1 instead of 3");
  expect(growthOf(narrow, narrow, 3)).toBeUndefined();
  expect(growthOf(narrow, configOf(16, 2, { first: 32 }), 0)).toEqual({ own: 2, above: 2 });
  expect(growthOf(narrow, configOf(16, 2, { first: 32 }), 1)).toEqual({ own: 1, above: 2 });
  const mixed = configOf(16, 2, { kinds: "mar-ar" });
  expect(growthOf(narrow, mixed, 0)).toBeUndefined();
  expect(growthOf(narrow, mixed, 1)).toMatch(/^conditions 5 instead of 1/);
  expect(growthOf(narrow, configOf(16, 2, { qkNorm: true }), 1)).toBe("qkNorm true instead of false");
  expect(growthOf(narrow, configOf(16, 2, { qkNorm: false }), 1)).toEqual({ own: 1, above: 1 });
});

it.each<[string, Parameters<typeof configOf>[2], Parameters<typeof configOf>]>([
  ["pixels twice as wide", { channels: 3 }, [32, 4]],
  ["pixels three times as wide", { channels: 2 }, [48, 6]],
  ["pixels twice as wide, grey", { channels: 1 }, [32, 4]],
  ["pixels twice as wide, four channels", { channels: 4 }, [32, 4]],
  ["the level between", {}, [16, 2, { above: 32 }]],
  ["the level between and the pixels", { channels: 1 }, [48, 6, { above: 32 }]],
  ["the level between, with normalised queries and keys", { qkNorm: true, above: 104 }, [16, 2, { above: 208 }]],
  ["the first level", {}, [16, 2, { first: 48 }]],
  ["all levels below MAR over AR", { kinds: "mar-ar" }, [32, 4, { above: 32 }]],
  ["every level of MAR over AR", { kinds: "mar-ar" }, [32, 4, { above: 32, first: 48 }]],
  ["all levels below MAR", { kinds: "mar" }, [32, 4, { above: 32 }]],
  ["every level of MAR", { kinds: "mar" }, [32, 4, { above: 48, first: 32 }]],
])("%s: the same likelihoods and different gradients", async (_, base, [width, heads, grown]) => {
  const narrow = configOf(16, 2, base);
  const wide = configOf(width, heads, { ...base, ...grown });
  const values = new Map(
    modelParameters(narrow).map(({ name, shape, start }, i): [string, HostTensor] => {
      const key = derive(seedKey(1), i);
      const base = start === "ones" ? 1 : 0;
      return [
        name,
        float32(
          Float32Array.from({ length: product(shape) }, (_, j) => base + 0.3 * normal(key, j)),
          shape,
        ),
      ];
    }),
  );
  const widen = widening(wide);
  const wider = new Map(
    modelParameters(wide).map((parameter, i): [string, HostTensor] => {
      const { data, shape } = values.get(parameter.name)!;
      if (String(shape) === String(parameter.shape)) return [parameter.name, values.get(parameter.name)!];
      const given = { data: data as Float32Array, shape, key: derive(seedKey(2), i) };
      return [parameter.name, float32(widen(parameter, given), parameter.shape)];
    }),
  );
  const batch = {
    images: Uint8Array.from({ length: 3 * 8 * 8 * narrow.channels }, (_, i) => (i * 2654435761) >>> 24),
    labels: Int32Array.of(0, 1, 2),
  };
  const engine = await nodeEngine();
  const computed = async (config: ModelConfig, parameters: Map<string, HostTensor>) => {
    const { nats, each, loss, parameters: used } = lossGraph(config);
    const values = [...used.keys()].filter((name) => /blocks\.0\.(attention\.wqkv|attn\.qkv)\.weight$/.test(name));
    const inner = gradients(
      loss,
      values.map((name) => used.get(name)!),
    );
    const outputs = { nats, each: each.pixels, inner };
    const session = await engine.session(writeOnnx(named(outputs)));
    const masked = (_: number, { image }: { image: Int32Array }, tokens: number) =>
      Uint8Array.from({ length: image.length * tokens }, (_, i) => Number(i % 3 > 0));
    const plan = planPass(config, 3, masked);
    const found = await runTree(session, outputs, {
      ...Object.fromEntries(parameters),
      ...lossFeeds(config, batch, plan),
    });
    await session.dispose();
    return found;
  };
  const [before, after] = [await computed(narrow, values), await computed(wide, wider)];
  const each = after.each.data as Float32Array;
  (before.each.data as Float32Array).forEach((nats, i) => expect(each[i]).toBeCloseTo(nats, 4));
  expect((after.nats.data as Float32Array)[0]).toBeCloseTo((before.nats.data as Float32Array)[0], 2);
  let checked = 0;
  after.inner.forEach(({ data, shape: [rows, columns] }, i) => {
    const from = before.inner[i].shape[0] / 3;
    if (rows === 3 * from) return;
    // The rows of the values: the first copies, then the second ones.
    const start = (2 * rows * columns) / 3;
    const copies = [0, 1].map((copy) =>
      (data as Float32Array).subarray(start + copy * from * columns, start + (copy + 1) * from * columns),
    );
    const difference = Math.hypot(...copies[0].map((x, j) => x - copies[1][j]));
    expect(difference / Math.hypot(...copies[0])).toBeGreaterThan(0.01);
    checked++;
  });
  expect(checked).toBeGreaterThan(0);
});

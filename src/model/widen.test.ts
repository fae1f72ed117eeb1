/** A widened pixel level computes the same as the narrower one, and its copies learn different things. */

import { expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { float32, type HostTensor, product } from "../core/arrays.ts";
import { derive, normal, seedKey } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { gradients } from "../graph/gradient.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { named, runTree } from "../graph/tree.ts";
import { lossGraph } from "./loss.ts";
import { modelParameters } from "./parameters.ts";
import { lossFeeds, planPass } from "./plan.ts";
import { widened, widens } from "./widen.ts";

const configOf = (width: number, heads: number, { depth = 2, above = 16, channels = 3 } = {}) =>
  parseModelConfig(
    {
      imageSize: 4,
      channels,
      classes: ["a", "b"],
      levels: [
        { kind: "ar", patch: 2, width: 16, depth: 1, heads: 2 },
        { kind: "ar", patch: 1, width: above, depth: 1, heads: 2 },
        { kind: "pixel", width, depth, heads },
      ],
    },
    "the test",
  );

const narrow = configOf(16, 2);

it("needs a multiple of the width and of the heads, and the same depth and conditions", () => {
  expect(widens(narrow, configOf(32, 4))).toBe(true);
  expect(widens(narrow, configOf(48, 6))).toBe(true);
  expect(widens(narrow, narrow)).toBe(false);
  expect(widens(configOf(32, 4), narrow)).toBe(false);
  expect(widens(narrow, configOf(32, 2))).toBe(false);
  expect(widens(narrow, configOf(24, 3))).toBe(false);
  expect(widens(narrow, configOf(32, 4, { depth: 1 }))).toBe(false);
  expect(widens(narrow, configOf(32, 4, { above: 32 }))).toBe(false);
});

it.each([
  [2, 3],
  [3, 2],
  [2, 1],
  [2, 4],
])("%i times as wide, with %i channels, has the same likelihoods and different gradients", async (factor, channels) => {
  const narrow = configOf(16, 2, { channels });
  const wide = configOf(16 * factor, 2 * factor, { channels });
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
  const wider = new Map(
    modelParameters(wide).map((parameter, i): [string, HostTensor] => {
      const { data, shape } = values.get(parameter.name)!;
      if (String(shape) === String(parameter.shape)) return [parameter.name, values.get(parameter.name)!];
      const given = { data: data as Float32Array, shape, key: derive(seedKey(2), i) };
      return [parameter.name, float32(widened(modelParameters(wide), parameter, given), parameter.shape)];
    }),
  );
  const batch = {
    images: Uint8Array.from({ length: 3 * 4 * 4 * channels }, (_, i) => (i * 2654435761) >>> 24),
    labels: Int32Array.of(0, 1, 2),
  };
  const engine = await nodeEngine();
  const computed = async (config: typeof narrow, parameters: Map<string, HostTensor>) => {
    const { nats, each, loss, parameters: used } = lossGraph(config);
    const inner = [...used.keys()].findLast((name) => name.endsWith("blocks.0.mlp.fc1.weight"))!;
    const outputs = { nats, each: each.pixels, inner: gradients(loss, [used.get(inner)!])[0] };
    const session = await engine.session(writeOnnx(named(outputs)));
    const plan = planPass(config, 3, () => new Uint8Array());
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
  const gradient = after.inner.data as Float32Array;
  const copies = [0, 1].map((copy) => gradient.subarray((copy * gradient.length) / factor, ((copy + 1) * gradient.length) / factor)); // prettier-ignore
  const difference = Math.hypot(...copies[0].map((x, i) => x - copies[1][i]));
  expect(difference / Math.hypot(...copies[0])).toBeGreaterThan(0.01);
});

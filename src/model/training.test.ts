/**
 * The training graph, which is written for speed and runs in groups, compared with the plain loss differentiated as one
 * graph.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { float32, type HostTensor, int32, product } from "../core/arrays.ts";
import { derive, normal, seedKey, uniform } from "../core/random.ts";
import type { Session } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import { gradients } from "../graph/gradient.ts";
import { writeOnnx } from "../graph/onnx.ts";
import type { Tensor } from "../graph/tensor.ts";
import { named, runTree, type Tree } from "../graph/tree.ts";
import type { TrainingFeeds } from "./feeds.ts";
import { lossGraph } from "./loss.ts";
import { modelParameters } from "./parameters.ts";
import { inGroups, lossFeeds, type Masks, planPass } from "./plan.ts";
import { trainingGraph } from "./training.ts";
import { thorough, firstOf } from "../test-depth.ts";

const engine = await nodeEngine({ threads: 1 });
const small = { width: 16, depth: 2, heads: 2 };
const pixel = { kind: "pixel", ...small };
const model = (imageSize: number, levels: object[], channels = 3): ModelConfig =>
  parseModelConfig({ imageSize, channels, classes: ["a", "b"], levels: [...levels, pixel] }, "the test");

const models: [string, ModelConfig][] = [
  ["MAR", model(8, [{ kind: "mar", patch: 4, ...small }, { kind: "mar", patch: 1, ...small }])],
  ["AR, two channels", model(8, [{ kind: "ar", patch: 4, ...small }, { kind: "ar", patch: 1, ...small }], 2)],
  ["one level, one channel", model(4, [{ kind: "mar", patch: 1, ...small }], 1)],
  [
    "three levels, mixed, guiding pixels",
    model(8, [
      { kind: "mar", patch: 4, ...small },
      { kind: "mar", patch: 2, ...small, guidingPixel: true, conditions: 1 },
      { kind: "mar", patch: 1, ...small, guidingPixel: true },
    ]),
  ],
  ["MAR above AR that reads three conditions", model(8, [{ kind: "mar", patch: 2, ...small }, { kind: "ar", patch: 1, ...small, conditions: 3 }])],
  ["AR above MAR", model(8, [{ kind: "ar", patch: 2, ...small }, { kind: "mar", patch: 1, ...small, conditions: 1 }])],
]; // prettier-ignore

/** Some patches, at least one in each square, selected by a hash of their place. */
const masks: Masks = (level, { image, place }, tokens) => {
  const mask = new Uint8Array(image.length * tokens);
  for (let i = 0; i < mask.length; i++) {
    const row = Math.floor(i / tokens);
    const key = derive(derive(derive(seedKey(3), level), image[row]), place[row]);
    mask[i] = Number(i % tokens === 0 || uniform(key, i % tokens) < 0.7);
  }
  return mask;
};

describe.each(firstOf(models, 4))("%s", (_, config) => {
  const { imageSize, channels } = config;
  const count = 3;
  const batch = {
    images: Uint8Array.from({ length: count * imageSize ** 2 * channels }, (_, i) => (i * 2654435761) >>> 24),
    labels: Int32Array.of(0, 1, 2),
  };
  const values: Record<string, HostTensor> = {};
  modelParameters(config).forEach(({ name, shape }, i) => {
    const key = derive(seedKey(1), i);
    const around = /norm.*weight|ln\.weight/.test(name) ? 1 : 0;
    values[name] = float32(
      Float32Array.from({ length: product(shape) }, (_, j) => around + 0.1 * normal(key, j)),
      shape,
    );
  });
  const plan = planPass(config, count, masks);
  const feeds = { ...values, ...lossFeeds(config, batch, plan, { redWeight: 2, guidingRedWeight: 3 }) };
  /** A graph whose session opens with its first run; runs may differ in their feeds. */
  const graphOf = <X>(outputs: X) => {
    let session: Promise<Session> | undefined;
    return {
      async run(more: Partial<TrainingFeeds> = {}) {
        session ??= engine.session(writeOnnx(named(outputs as Tree<Tensor>)));
        return runTree(await session, outputs, { ...feeds, ...more });
      },
      dispose: async () => (await session)?.dispose(),
    };
  };

  describe("the gradients of the loss", () => {
    const { loss, nats, guidingNats, parameters } = lossGraph(config);
    const wanted = gradients(loss, [...parameters.values()]);
    const d = Object.fromEntries([...parameters.keys()].map((name, i) => [name, wanted[i]]));
    const graph = trainingGraph(config);
    const guiding = {
      guidingNats: graph.guidingNats.map((_, l) => guidingNats.get(l)),
      lastGuidingNats: guidingNats.get(config.levels.length - 2),
    };
    const whole = graphOf({ nats, ...guiding, d });
    const inParts = graphOf(graph);
    let expected: Record<string, HostTensor>;
    beforeAll(async () => {
      expected = named<HostTensor>(await whole.run());
      await whole.dispose();
    });
    afterAll(() => inParts.dispose());

    it.each(firstOf([2, 1, 5, 100]))("are computed in groups of %i", async (group) => {
      const found = named<HostTensor>(await inParts.run(inGroups(config, plan, group)));
      expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
      for (const [name, { data, shape }] of Object.entries(expected)) {
        const largest = (data as Float32Array).reduce((most, x) => Math.max(most, Math.abs(x)), 1e-6);
        const other = found[name].data as Float32Array;
        const worst = (data as Float32Array).reduce((most, x, i) => Math.max(most, Math.abs(x - other[i])), 0);
        expect(found[name].shape, name).toEqual(shape);
        expect(worst / largest, name).toBeLessThan(/attn.qkv.bias/.test(name) ? 1e-3 : 2e-5);
      }
    });
  });

  it.runIf(thorough)("with dropout, does not depend on the groups either", async () => {
    const dropping = graphOf(trainingGraph(config, { attentionDropout: 0.2, projectionDropout: 0.3 }));
    const plainly = graphOf(trainingGraph(config));
    const drop = { seed: int32([5], []), first: int32([7, 40, 300].slice(0, config.levels.length - 1), [config.levels.length - 1]) }; // prettier-ignore
    const whole = await dropping.run({ ...inGroups(config, plan, 100), ...drop });
    const cut = await dropping.run({ ...inGroups(config, plan, 2), ...drop });
    const plain = await plainly.run(inGroups(config, plan, 2));
    await Promise.all([dropping.dispose(), plainly.dispose()]);
    const flat = ({ nats }: { nats?: HostTensor }) => [...(nats!.data as Float32Array)];
    flat(whole).forEach((n, c) => expect(Math.abs(flat(cut)[c] / n - 1)).toBeLessThan(1e-6));
    expect(flat(whole)).not.toEqual(flat(plain));
  });
});

/** All metrics together equal each one alone. Metrics the reference has no data for are left out, and too few images are an error. */

import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { nodeEngine } from "../engine/node.ts";
import { readInputs, statisticsOf } from "../parity/metrics.ts";
import type { MeasuredSet } from "./features.ts";
import { frechetDistance, inceptionScore, kernelDistance, precisionAndRecall } from "./metrics.ts";
import { rowsOf } from "./metrics-products.ts";
import { qualityOf } from "./quality.ts";

const engine = await nodeEngine({ threads: 1 });
const given = readInputs(fileURLToPath(new URL("../../fixtures/metrics", import.meta.url)));

/** The first rows of a recorded set. */
async function setOf(name: "features_1" | "features_2", rows: number): Promise<MeasuredSet> {
  const features = rowsOf(given.read(name), 0, rows);
  return { features, logits: rowsOf(given.read("logits"), 0, rows), statistics: await statisticsOf(engine, features) };
}

const generated = await setOf("features_1", 300);
const reference = await setOf("features_2", 280);
const sets = { generated: generated.features, reference: reference.features };

describe("the quality of a set", () => {
  it("is its metrics with default settings; KID's subsets are the whole smaller set if that is small", async () => {
    const quality = await qualityOf(engine, { generated, reference }, { subsets: 3 });
    const { precision, recall } = await precisionAndRecall(engine, sets);
    expect(quality).toEqual({
      images: 300,
      frechetDistance: await frechetDistance(engine, {
        generated: generated.statistics,
        reference: reference.statistics,
      }),
      kernelDistance: {
        ...(await kernelDistance(engine, sets, { subsets: 3, size: 280 })),
        subsets: 3,
        subsetSize: 280,
      },
      score: { ...inceptionScore(generated.logits), splits: 10 },
      precision,
      recall,
    });
  });

  it("uses the given settings, and reports each metric", async () => {
    const names: string[] = [];
    const quality = await qualityOf(
      engine,
      { generated, reference },
      { subsets: 2, subsetSize: 50, splits: 3, neighbours: 5, seed: 4, onMetric: (name) => names.push(name) },
    );
    const { mean, spread } = await kernelDistance(engine, sets, { subsets: 2, size: 50, seed: 4 });
    expect(quality.kernelDistance).toEqual({ mean, spread, subsets: 2, subsetSize: 50 });
    expect(quality.score).toEqual({ ...inceptionScore(generated.logits, { splits: 3 }), splits: 3 });
    const { precision, recall } = await precisionAndRecall(engine, sets, { neighbours: 5 });
    expect([quality.precision, quality.recall]).toEqual([precision, recall]);
    expect(names).toEqual(["score of the classes", "kernel distance", "precision and recall", "Fréchet distance"]);
  });

  it("is only the Fréchet distance and the score if the reference has only statistics", async () => {
    const { statistics } = reference;
    const whole = await qualityOf(engine, { generated, reference }, { subsets: 1 });
    const alone = await qualityOf(engine, { generated, reference: { statistics } });
    expect(alone).toEqual({ images: 300, score: whole.score, frechetDistance: whole.frechetDistance });
  });

  it("refuses too few images, in one sentence that says how many are needed", async () => {
    const few = await setOf("features_2", 5);
    await expect(qualityOf(engine, { generated, reference: few }, { neighbours: 5 })).rejects.toThrow(
      "precision and recall with 5 neighbours: expected at least 6 images in each set, got 5",
    );
    await expect(qualityOf(engine, { generated: few, reference })).rejects.toThrow(
      "The Inception Score of 10 splits: at least 10 images are needed, the generated set has 5",
    );
    await expect(qualityOf(engine, { generated, reference }, { subsetSize: 290 })).rejects.toThrow(
      "KID over subsets of 290 images: at least 290 images are needed, the reference set has 280",
    );
  });

  it("can be cancelled", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(qualityOf(engine, { generated, reference }, { signal })).rejects.toThrow("enough");
    const { statistics } = reference;
    await expect(qualityOf(engine, { generated, reference: { statistics } }, { signal })).rejects.toThrow("enough");
  });
});

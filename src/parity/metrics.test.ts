/** Metrics and statistics match torch-fidelity and NumPy; wrong numbers are detected, and other files reported. */

import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { normal, seedKey } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { type Features, float64, rowsOf } from "../evaluate/metrics-products.ts";
import { writeStatistics } from "../evaluate/statistics.ts";
import { readSafetensors, writeSafetensors } from "../files/safetensors.ts";
import type { Comparison } from "./compare.ts";
import { compareMetrics, compareMoments, compareStatistics, readMetrics, statisticsOf } from "./metrics.ts";

const fixtures = fileURLToPath(new URL("../../fixtures/metrics", import.meta.url));
const engine = await nodeEngine({ threads: 1 });
const temporary = mkdtempSync(join(tmpdir(), "fractalgen-metrics-"));
afterAll(() => rmSync(temporary, { recursive: true }));

const given = () => readSafetensors(join(fixtures, "metrics.safetensors")).tensors as Map<string, Features>;
const write = (tensors: Iterable<[string, Features]>) =>
  writeSafetensors(join(temporary, "metrics.safetensors"), tensors);
const record = (metrics: object) => writeFileSync(join(temporary, "metrics.json"), JSON.stringify(metrics));
const failed = (comparisons: Comparison[]) => comparisons.filter(({ ok }) => !ok).map(({ name }) => name);

describe("metrics", () => {
  it("all agree", async () => {
    const comparisons = await compareMetrics(engine, fixtures);
    expect(failed(comparisons)).toEqual([]);
    const recorded = Object.keys(readMetrics(fixtures));
    expect(recorded).toHaveLength(8);
    expect(comparisons.map(({ name, tolerance }) => [name, tolerance])).toEqual(
      recorded.map((name) => [name, name === "fid_of_40_rows_rank_deficient" ? 1e-3 : 1e-6]),
    );
  });

  it("with a wrong value are detected individually", async () => {
    await write(given());
    const recorded = readMetrics(fixtures);
    record(Object.fromEntries(Object.entries(recorded).map(([name, value]) => [name, value * (1 + 2e-6)])));
    const few = "fid_of_40_rows_rank_deficient";
    expect(failed(await compareMetrics(engine, temporary))).toEqual(
      Object.keys(recorded).filter((name) => name !== few),
    );
    record({ [few]: recorded[few] * 1.002 });
    expect(failed(await compareMetrics(engine, temporary))).toEqual([few]);
  });

  it("may use other numbers of rows and splits, and may be incomplete", async () => {
    const [reference, generated] = ["features_1", "features_2"].map((name) => given().get(name)!);
    await write([["features_1", generated], ["features_2", reference], ["logits", given().get("logits")!]]); // prettier-ignore
    const { frechet_inception_distance, precision, recall } = readMetrics(fixtures);
    // The sets are swapped, and so are precision and recall.
    record({ recall: precision, precision: recall, frechet_inception_distance });
    expect(failed(await compareMetrics(engine, temporary))).toEqual([]);
    record({ inception_score_mean_10_splits_unshuffled: 3.001618990859163 });
    expect(failed(await compareMetrics(engine, temporary))).toEqual([]);
    record({ inception_score_mean_9_splits_unshuffled: 3.001618990859163 });
    expect(failed(await compareMetrics(engine, temporary))).toEqual(["inception_score_mean_9_splits_unshuffled"]);
  });

  it("that are unknown or not numbers are reported in one sentence", async () => {
    await write(given());
    record({ frechet_inception_distanc: 1 });
    await expect(compareMetrics(engine, temporary)).rejects.toThrow(
      /metrics\.json: there is no metric "frechet_inception_distanc"; did you mean "frechet_inception_distance"\?$/,
    );
    record({ precision: "high" });
    await expect(compareMetrics(engine, temporary)).rejects.toThrow(/metrics\.json: precision: .*number/);
    record({ inception_score_mean_10_splits_unshuffled: 3 });
    await write([["features_1", given().get("features_1")!]]);
    await expect(compareMetrics(engine, temporary)).rejects.toThrow('it has no tensor "logits"; it has features_1');
  });
});

describe("means and covariances", () => {
  it("agree, both next to the features and in the archive", async () => {
    const comparisons = [...(await compareMoments(engine, fixtures)), ...(await compareStatistics(engine, fixtures))];
    expect(comparisons.map(({ name, ok, tolerance }) => [name, ok, tolerance])).toEqual(
      ["mu_1", "sigma_1", "stats.npz mu", "stats.npz sigma"].map((name) => [name, true, 1e-6]),
    );
    for (const { name, error } of comparisons) if (name.endsWith("sigma")) expect(error).toBeLessThan(1e-12);
  });

  it("that are wrong are detected: the other set's, and a covariance divided by the number of images", async () => {
    const tensors = given();
    const { mu, sigma } = await statisticsOf(engine, tensors.get("features_2")!);
    const rows = tensors.get("features_2")!.shape[0];
    const divided = sigma.map((value) => (value * (rows - 1)) / rows);
    await write([...tensors, ["mu_2", float64(mu, [48])], ["sigma_2", float64(divided, [48, 48])]]);
    expect(failed(await compareMoments(engine, temporary))).toEqual(["sigma_2"]);
    copyFileSync(join(fixtures, "stats.npz"), join(temporary, "stats.npz"));
    expect(failed(await compareStatistics(engine, temporary))).toEqual([]);
    await writeStatistics(join(temporary, "stats.npz"), await statisticsOf(engine, tensors.get("features_1")!));
    expect(failed(await compareStatistics(engine, temporary))).toEqual(["stats.npz mu", "stats.npz sigma"]);
  });

  it("agree even if NumPy's float32 mean is off by more than a millionth of itself", async () => {
    const [rows, width] = [3000, 8];
    const key = seedKey(4);
    const data = Float32Array.from({ length: rows * width }, (_, i) => normal(key, i));
    const features: Features = { dtype: "float32", shape: [rows, width], data };
    const sums = new Float32Array(width);
    for (let i = 0; i < data.length; i++) sums[i % width] += data[i];
    const { mu, sigma } = await statisticsOf(engine, features);
    const rounded = Float64Array.from(sums, (sum) => Math.fround(sum / rows));
    const largest = mu.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(Math.max(...rounded.map((value, i) => Math.abs(value - mu[i]))) / largest).toBeGreaterThan(1e-6);
    await write([["features_1", features], ["mu_1", float64(rounded, [width])], ["sigma_1", float64(sigma, [width, width])]]); // prettier-ignore
    expect(failed(await compareMoments(engine, temporary))).toEqual([]);
  });

  it("of an archive require the features they were computed from", async () => {
    copyFileSync(join(fixtures, "stats.npz"), join(temporary, "stats.npz"));
    await write([["features_1", rowsOf(given().get("features_1")!, 0, 10)]]);
    await expect(compareStatistics(engine, temporary)).rejects.toThrow('it has no tensor "features_2"');
  });
});

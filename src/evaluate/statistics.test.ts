/** Means and covariances do not depend on the batches. `parity/metrics.test.ts` compares with NumPy. */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { normal, seedKey } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { writeNpz } from "../files/npz.ts";
import { readInputs } from "../parity/metrics.ts";
import { type Features, float64, rowsOf } from "./metrics-products.ts";
import { gatherStatistics, readStatistics, writeStatistics } from "./statistics.ts";

const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/metrics/${name}`, import.meta.url));
const { read: recorded } = readInputs(fixture(""));
const engine = await nodeEngine({ threads: 1 });
const temporary = mkdtempSync(join(tmpdir(), "fractalgen-statistics-"));
afterAll(() => rmSync(temporary, { recursive: true }));

async function gathered(features: Features, batch: number) {
  const gathering = gatherStatistics(engine);
  for (let at = 0; at < features.shape[0]; at += batch) await gathering.add(rowsOf(features, at, at + batch));
  return gathering.statistics();
}

function expectNear(values: ArrayLike<number>, right: ArrayLike<number>, error: number): void {
  expect(values).toHaveLength(right.length);
  let worst = 0;
  for (let i = 0; i < values.length; i++) worst = Math.max(worst, Math.abs(values[i] - right[i]));
  expect(worst).toBeLessThan(error);
}

describe("gathered statistics", () => {
  it.each([7, 1])("equal those of all at once, in batches of %i", async (batch) => {
    const whole = await gathered(recorded("features_1"), 300);
    const { mu, sigma } = await gathered(recorded("features_1"), batch);
    expectNear(sigma, whole.sigma, 1e-12);
    expectNear(mu, whole.mu, 1e-12);
  });

  it("are precise for small variations around a large mean", async () => {
    const [count, width] = [5000, 3];
    const key = seedKey(1);
    const features = float64(
      Float64Array.from({ length: count * width }, (_, i) => 1e6 + normal(key, i) + Math.floor(i / 9000)),
      [count, width],
    );
    const mean = new Float64Array(width);
    features.data.forEach((value, i) => (mean[i % width] += (value - 1e6) / count));
    const right = new Float64Array(width * width);
    for (let row = 0; row < count; row++)
      for (let i = 0; i < width; i++)
        for (let j = 0; j < width; j++) {
          const around = (k: number) => features.data[row * width + k] - 1e6 - mean[k];
          right[i * width + j] += (around(i) * around(j)) / (count - 1);
        }
    for (const batch of [5000, 1999]) {
      const { mu, sigma } = await gathered(features, batch);
      expectNear(
        mu,
        mean.map((value) => value + 1e6),
        1e-8,
      );
      expectNear(sigma, right, 1e-8);
    }
  });

  it("can be read more than once", async () => {
    const features = recorded("features_1");
    const gathering = gatherStatistics(engine);
    await gathering.add(rowsOf(features, 0, 200));
    await gathering.statistics();
    await gathering.add(rowsOf(features, 200, 300));
    expectNear((await gathering.statistics()).sigma, recorded("sigma_1").data, 1e-12);
  });

  it("refuse a single image, other dimensions and NaN", async () => {
    const features = recorded("features_1");
    const gathering = gatherStatistics(engine, { name: "the generated set" });
    await expect(gathering.statistics()).rejects.toThrow(
      "FID's statistics: at least 2 images are needed, the generated set has 0",
    );
    await gathering.add(rowsOf(features, 0, 1));
    await expect(gathering.statistics()).rejects.toThrow("at least 2 images are needed, the generated set has 1");
    await expect(gathering.add(float64(new Float64Array(6), [2, 3]))).rejects.toThrow(
      "FID's statistics: a batch of the generated set has 3 dimensions, but those before it have 48",
    );
    const broken = { ...features, data: features.data.map((x, i) => (i === 49 ? NaN : x)) as Float32Array };
    await expect(gathering.add(broken)).rejects.toThrow(
      "FID's statistics: the generated set has NaN for image 1, not a number",
    );
    await expect(gathering.add(float64(new Float64Array(6), [6]))).rejects.toThrow("has the shape [6]");
  });
});

describe("statistics in files", () => {
  it("are read as they were written, with arrays laid out like NumPy's", async () => {
    const path = join(temporary, "own.npz");
    const published = await readStatistics(fixture("stats.npz"));
    await writeStatistics(path, published);
    expect(await readStatistics(path)).toEqual(published);
    const arrays = (file: string) => {
      const bytes = readFileSync(file);
      const at = (key: string) => bytes.indexOf("\x93NUMPY", bytes.indexOf(key), "latin1");
      return [bytes.subarray(at("mu.npy"), at("mu.npy") + 320), bytes.subarray(at("sigma.npy")).subarray(0, 18560)];
    };
    expect(arrays(path)).toEqual(arrays(fixture("stats.npz")));
  });

  it("are refused if they are not a mean and a covariance", async () => {
    const write = async (name: string, mu: Features, sigma?: Features) => {
      const path = join(temporary, name);
      await writeNpz(path, sigma ? { mu, sigma } : { mu });
      return path;
    };
    const two = float64(new Float64Array(2), [2]);
    await expect(readStatistics(await write("a.npz", two))).rejects.toThrow('it has no array "sigma", only mu');
    await expect(readStatistics(await write("b.npz", two, float64(new Float64Array(6), [2, 3])))).rejects.toThrow(
      "mu is [2] and sigma [2, 3], expected [D] and [D, D]",
    );
    await expect(
      readStatistics(await write("c.npz", two, float64(Float64Array.of(1, NaN, 0, 1), [2, 2]))),
    ).rejects.toThrow("sigma has values that are not numbers");
    await expect(readStatistics(join(temporary, "none.npz"))).rejects.toThrow("none.npz");
  });
});

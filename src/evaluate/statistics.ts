/** Mean and covariance of features for FID: computed from a stream, and stored as NumPy archives. */

import { UserError } from "../core/errors.ts";
import { openNpz, type Npz } from "../data/npz.ts";
import type { Engine } from "../engine/engine.ts";
import { writeNpz } from "../files/npz.ts";
import { checkFeatures, type Features, float64, multiply } from "./metrics-products.ts";

/** Mean and covariance of features, as FID compares them. */
export interface Statistics {
  /** Mean: [D]. */
  mu: Float64Array;
  /** Covariance with divisor N - 1, as in `numpy.cov`: [D, D]. */
  sigma: Float64Array;
}

/** Rows to collect before a product, because each product takes a pass over a matrix [D, D]. */
const gatheredRows = 2048;

export interface Gathering {
  /** Adds features [B, D] of any number of images, which are copied. One call at a time. */
  add(features: Features): Promise<void>;
  /** The statistics of all images so far; more may follow. */
  statistics(): Promise<Statistics>;
}

/**
 * Computes mean and covariance of features batch by batch in float64, in constant memory. `name` is the set's in errors.
 */
export function gatherStatistics(engine: Engine, { name = "the set" }: { name?: string } = {}): Gathering {
  let width = 0;
  let rows = new Float64Array(); // waiting rows: [gatheredRows, D]
  let waiting = 0;
  let count = 0; // of images already added to mu and scatter
  let mu = new Float64Array();
  let scatter = new Float64Array(); // sum of the outer products of their deviations from the mean: [D, D]

  /** Combines the waiting rows' mean and scatter with those so far (Chan, Golub and LeVeque 1979). */
  async function multiplyWaiting(): Promise<void> {
    const values = rows.subarray(0, waiting * width);
    const mean = new Float64Array(width);
    for (let at = 0; at < values.length; at += width)
      for (let i = 0; i < width; i++) mean[i] += values[at + i] / waiting;
    for (let at = 0; at < values.length; at += width) for (let i = 0; i < width; i++) values[at + i] -= mean[i];
    const centred = float64(values, [waiting, width]);
    const own = await multiply(engine, { a: centred, b: centred, transA: true });
    const apart = mean.map((value, i) => value - mu[i]);
    const total = count + waiting;
    const weight = (count * waiting) / total;
    for (let i = 0, at = 0; i < width; i++)
      for (let j = 0; j < width; j++, at++) scatter[at] += own[at] + weight * apart[i] * apart[j];
    for (let i = 0; i < width; i++) mu[i] += (apart[i] * waiting) / total;
    count = total;
    waiting = 0;
  }

  return {
    async add(features) {
      checkFeatures(features, { metric: "FID's statistics", name, least: 0 });
      const [batch, dimensions] = features.shape;
      if (width === 0) {
        width = dimensions;
        rows = new Float64Array(gatheredRows * width);
        mu = new Float64Array(width);
        scatter = new Float64Array(width * width);
      }
      if (dimensions !== width)
        throw new UserError({
          subject: "FID's statistics",
          problem: `a batch of ${name} has ${dimensions} dimensions, but those before it have ${width}`,
        });
      for (let at = 0; at < batch;) {
        const taken = Math.min(batch - at, gatheredRows - waiting);
        rows.set(features.data.subarray(at * width, (at + taken) * width), waiting * width);
        waiting += taken;
        at += taken;
        if (waiting === gatheredRows) await multiplyWaiting();
      }
    },
    async statistics() {
      if (count + waiting < 2)
        throw new UserError({
          subject: "FID's statistics",
          problem: `at least 2 images are needed, ${name} has ${count + waiting}`,
        });
      if (waiting > 0) await multiplyWaiting();
      return { mu: mu.slice(), sigma: scatter.map((sum) => sum / (count - 1)) };
    },
  };
}

/** Reads `mu` and `sigma` from a NumPy archive, the format of published FID references. UserError if the file is unusable. */
export async function readStatistics(path: string): Promise<Statistics> {
  const npz = await openNpz(path);
  try {
    const mu = await floatsOf(npz, "mu");
    const sigma = await floatsOf(npz, "sigma");
    const width = mu.shape[0];
    if (mu.shape.length !== 1 || width === 0 || sigma.shape.length !== 2 || sigma.shape.some((size) => size !== width))
      throw new UserError({
        subject: path,
        problem: `mu is [${mu.shape.join(", ")}] and sigma [${sigma.shape.join(", ")}]`,
        expected: "[D] and [D, D]",
      });
    return { mu: mu.data, sigma: sigma.data };
  } finally {
    npz.close();
  }
}

async function floatsOf(npz: Npz, name: string): Promise<{ shape: number[]; data: Float64Array }> {
  const { data, shape, type } = await npz.read(name);
  if (!(data instanceof Float32Array || data instanceof Float64Array))
    throw new UserError({ subject: npz.path, problem: `${name} is of type ${type}`, expected: "f4 or f8" });
  if (data.some((value) => !Number.isFinite(value)))
    throw new UserError({
      subject: npz.path,
      problem: `${name} has values that are not numbers, so it was computed from broken features`,
    });
  return { shape, data: Float64Array.from(data) };
}

/** Writes statistics like torch-fidelity, which only accepts a mean in float32. */
export async function writeStatistics(path: string, { mu, sigma }: Statistics): Promise<void> {
  const width = mu.length;
  await writeNpz(path, {
    mu: { dtype: "float32", shape: [width], data: Float32Array.from(mu) },
    sigma: { dtype: "float64", shape: [width, width], data: sigma },
  });
}

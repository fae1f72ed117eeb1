/**
 * Compares generated images with real ones by their features: FID, Inception Score, KID, precision and recall, as defined by
 * torch-fidelity. Knows nothing about images and feature networks.
 */

import { UserError } from "../core/errors.ts";
import { derive, permutation, seedKey } from "../core/random.ts";
import type { Engine } from "../engine/engine.ts";
import { eigenvalues, factor } from "./metrics-eigenvalues.ts";
import {
  blocks,
  checkDimensions,
  checkFeatures,
  eachDistance,
  type Features,
  float64,
  multiply,
  squaresOf,
} from "./metrics-products.ts";
import type { Statistics } from "./statistics.ts";

export interface Sets<T = Features> {
  generated: T;
  reference: T;
}

/** The mean of several estimates, and their standard deviation (dividing by n, not n - 1). */
export interface MeanAndSpread {
  mean: number;
  spread: number;
}

/** The squared Fréchet distance of two normal distributions, as in FID: |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½). */
export async function frechetDistance(engine: Engine, { generated, reference }: Sets<Statistics>): Promise<number> {
  const n = generated.mu.length;
  checkDimensions("FID", n, reference.mu.length);
  for (const [name, { mu, sigma }] of Object.entries({ generated, reference }))
    if (sigma.length !== n * n || [mu, sigma].some((values) => values.some((value) => !Number.isFinite(value))))
      throw new UserError({
        subject: "FID",
        problem: `the ${name} images' statistics are not numbers, or not of ${n} dimensions`,
      });
  let distance = 0;
  for (let i = 0; i < n; i++)
    distance += (generated.mu[i] - reference.mu[i]) ** 2 + generated.sigma[i * n + i] + reference.sigma[i * n + i];
  // With Σ₁ = L Lᵀ the product Σ₁ Σ₂ has the eigenvalues of Lᵀ Σ₂ L, which is symmetric, and zeros.
  const { data, rank } = factor(generated.sigma, n);
  if (rank > 0) {
    const l = float64(data, [n, rank]);
    const right = float64(await multiply(engine, { a: float64(reference.sigma, [n, n]), b: l }), [n, rank]);
    const symmetric = await multiply(engine, { a: l, b: right, transA: true });
    for (const value of eigenvalues(symmetric, rank)) distance -= 2 * Math.sqrt(Math.max(0, value));
  }
  return Math.max(0, distance); // rounding can make it negative
}

/**
 * exp of the mean KL divergence of an image's class probabilities from their mean, for each of `splits` consecutive parts of the
 * images. logits [N, classes]; torch-fidelity uses those without the last layer's bias.
 */
export function inceptionScore(logits: Features, { splits = 10 }: { splits?: number } = {}): MeanAndSpread {
  if (splits < 1)
    throw new UserError({ subject: "The Inception Score", expected: "at least 1 split", got: String(splits) });
  checkFeatures(logits, {
    metric: `The Inception Score of ${splits} splits`,
    name: "the generated set",
    least: splits,
  });
  const [count, classes] = logits.shape;
  const scores = Array.from({ length: splits }, (_, split) => {
    const [start, end] = [Math.floor((split * count) / splits), Math.floor(((split + 1) * count) / splits)];
    const mean = new Float64Array(classes);
    let sum = 0; // of p log p
    for (let image = start; image < end; image++) {
      const row = Float64Array.from(logits.data.subarray(image * classes, (image + 1) * classes));
      const largest = row.reduce((a, b) => Math.max(a, b));
      const total = Math.log(row.reduce((all, value) => all + Math.exp(value - largest), 0));
      row.forEach((value, i) => {
        const log = value - largest - total;
        mean[i] += Math.exp(log) / (end - start);
        sum += Math.exp(log) * log;
      });
    }
    const entropy = mean.reduce((all, p) => (p > 0 ? all - p * Math.log(p) : all), 0);
    return Math.exp(sum / (end - start) + entropy);
  });
  return spreadOf(scores);
}

export interface SubsetOptions {
  subsets?: number;
  /** Images of each set in a subset. */
  size?: number;
  seed?: number;
  signal?: AbortSignal;
}

/** KID over random subsets of both sets, drawn without replacement. The random numbers are not NumPy's. */
export async function kernelDistance(
  engine: Engine,
  sets: Sets,
  { subsets = 100, size = 1000, seed = 0, signal }: SubsetOptions = {},
): Promise<MeanAndSpread> {
  if (size < 2 || subsets < 1)
    throw new UserError({
      subject: "KID",
      expected: "subsets of at least 2 images, and one of them",
      got: `${subsets} of ${size}`,
    });
  checkSets(sets, { metric: `KID over subsets of ${size} images`, least: size });
  const estimates: number[] = [];
  for (let subset = 0; subset < subsets; subset++) {
    const key = derive(seedKey(seed), subset);
    const draw = (set: Features, part: number) =>
      gathered(set, permutation(derive(key, part), set.shape[0]).subarray(0, size));
    const drawn = { generated: draw(sets.generated, 0), reference: draw(sets.reference, 1) };
    estimates.push(await discrepancy(engine, drawn, signal));
  }
  return spreadOf(estimates);
}

/** KID of all images at once. The sets may differ in size. */
export async function kernelDistanceOfAll(
  engine: Engine,
  sets: Sets,
  { signal }: { signal?: AbortSignal } = {},
): Promise<number> {
  checkSets(sets, { metric: "KID", least: 2 });
  return discrepancy(engine, sets, signal);
}

/** The unbiased estimate of the squared maximum mean discrepancy under the kernel (x·y / D + 1)³. */
async function discrepancy(engine: Engine, { generated, reference }: Sets, signal?: AbortSignal): Promise<number> {
  const scale = 1 / generated.shape[1];
  async function mean(a: Features, b: Features): Promise<number> {
    let sum = 0;
    for await (const { row, column, columns, products } of blocks(engine, { a, b }, { signal })) {
      let own = 0;
      for (let i = 0; i < products.length; i++) own += (products[i] * scale + 1) ** 3;
      // For a set with itself: blocks off the diagonal also count for their mirror image, and no row is paired with itself.
      if (a === b && row !== column) own *= 2;
      else if (a === b) for (let i = 0; i < columns; i++) own -= (products[i * columns + i] * scale + 1) ** 3;
      sum += own;
    }
    return sum / (a.shape[0] * (a === b ? a.shape[0] - 1 : b.shape[0]));
  }
  return (
    (await mean(generated, generated)) + (await mean(reference, reference)) - 2 * (await mean(generated, reference))
  );
}

export interface PrecisionAndRecall {
  /** Fraction of generated images within a ball around a real image that reaches to its k-th nearest real neighbour. */
  precision: number;
  /** Fraction of real images within such a ball around a generated image. */
  recall: number;
  /** The harmonic mean of the two. */
  fScore: number;
}

/** Improved precision and recall (Kynkäänniemi et al. 2019) by Euclidean distance. Costs (N + M)² / 2 inner products of D values. */
export async function precisionAndRecall(
  engine: Engine,
  sets: Sets,
  { neighbours = 3, signal }: { neighbours?: number; signal?: AbortSignal } = {},
): Promise<PrecisionAndRecall> {
  if (neighbours < 1)
    throw new UserError({ subject: "Precision and recall", expected: "at least 1 neighbour", got: String(neighbours) });
  checkSets(sets, { metric: `Precision and recall with ${neighbours} neighbours`, least: neighbours + 1 });
  const { generated: a, reference: b } = sets;
  const [squaresA, squaresB] = [squaresOf(a), squaresOf(b)];
  const radiusA = await squaredRadii(engine, a, { squares: squaresA, neighbours, signal });
  const radiusB = await squaredRadii(engine, b, { squares: squaresB, neighbours, signal });
  const [real, covered] = [new Uint8Array(a.shape[0]), new Uint8Array(b.shape[0])];
  for await (const block of blocks(engine, { a, b }, { signal }))
    eachDistance(block, { squaresA, squaresB }, (i, j, distance) => {
      if (distance <= radiusB[j]) real[i] = 1;
      if (distance <= radiusA[i]) covered[j] = 1;
    });
  const [precision, recall] = [real, covered].map((hits) => hits.reduce((sum, hit) => sum + hit, 0) / hits.length);
  return { precision, recall, fScore: (2 * precision * recall) / Math.max(1e-5, precision + recall) };
}

/** Cached by set and number of neighbours: the radii of a large reference take longest, and several sets are compared with it. */
const knownRadii = new WeakMap<Features, Map<number, Float64Array>>();

/** The squared distance of every row to its k-th nearest other row, cached for each set. */
async function squaredRadii(
  engine: Engine,
  set: Features,
  options: { squares: Float64Array; neighbours: number; signal?: AbortSignal },
): Promise<Float64Array> {
  const known = knownRadii.get(set) ?? new Map<number, Float64Array>();
  knownRadii.set(set, known);
  const radii = known.get(options.neighbours) ?? (await computedRadii(engine, set, options));
  known.set(options.neighbours, radii);
  return radii;
}

async function computedRadii(
  engine: Engine,
  set: Features,
  { squares, neighbours: k, signal }: { squares: Float64Array; neighbours: number; signal?: AbortSignal },
): Promise<Float64Array> {
  const nearest = new Float64Array(set.shape[0] * k).fill(Infinity); // the k smallest distances of every row, in order
  const put = (row: number, distance: number) => {
    let at = row * k + k - 1;
    if (distance >= nearest[at]) return;
    for (; at > row * k && nearest[at - 1] > distance; at--) nearest[at] = nearest[at - 1];
    nearest[at] = distance;
  };
  for await (const block of blocks(engine, { a: set, b: set }, { signal }))
    eachDistance(block, { squaresA: squares, squaresB: squares }, (i, j, distance) => {
      if (i !== j) put(i, distance);
      if (block.row !== block.column) put(j, distance);
    });
  return nearest.filter((_, i) => i % k === k - 1);
}

/** A copy of some rows. */
function gathered({ dtype, shape: [, width], data }: Features, rows: Int32Array): Features {
  const chosen = dtype === "float32" ? new Float32Array(rows.length * width) : new Float64Array(rows.length * width);
  rows.forEach((row, i) => chosen.set(data.subarray(row * width, (row + 1) * width), i * width));
  return { dtype, shape: [rows.length, width], data: chosen };
}

function checkSets({ generated, reference }: Sets, { metric, least }: { metric: string; least: number }): void {
  checkFeatures(generated, { metric, name: "the generated set", least });
  checkFeatures(reference, { metric, name: "the reference set", least });
  checkDimensions(metric, generated.shape[1], reference.shape[1]);
}

function spreadOf(values: readonly number[]): MeanAndSpread {
  const mean = values.reduce((a, b) => a + b) / values.length;
  return { mean, spread: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) };
}

/**
 * An engine that measures seconds, runs, operations and bytes of each session, and the rates of plain products and
 * copies.
 */

import { float32, type HostTensor, type Value } from "../src/core/arrays.ts";
import type { Engine, Session } from "../src/engine/engine.ts";
import { constant, input, linear, matmul } from "../src/graph/build.ts";
import { boundSizes, floatingPointOperations, leastBytes } from "../src/graph/cost.ts";
import { writeOnnx } from "../src/graph/onnx.ts";

export interface Measured {
  seconds: number;
  runs: number;
  /** The most kernels that these runs launch on a GPU. */
  launches: number;
  operations: number;
  /** Bytes of inputs and outputs, and of weights, each counted once per run. */
  values: number;
  weights: number;
  /** Bytes of inputs and outputs on the host, which a run copies to and from a device with memory of its own. */
  copied: number;
}

/** An engine that records measurements per session, in the order of their creation. */
export interface MeasuringEngine extends Engine {
  measured: Measured[];
  /** Time spent opening sessions. */
  opening: { seconds: number };
  reset(): void;
}

/** `weightBytes` returns the size of a weight in its file; without it, weights count as inputs. */
export function measuring(engine: Engine, weightBytes: (name: string) => number = () => 0): MeasuringEngine {
  const measured: Measured[] = [];
  const opening = { seconds: 0 };
  return {
    ...engine,
    measured,
    opening,
    reset() {
      opening.seconds = 0;
      for (const entry of measured) Object.assign(entry, nothing());
    },
    async session(model, options): Promise<Session> {
      const opened = performance.now();
      const session = await engine.session(model, options);
      opening.seconds += (performance.now() - opened) / 1000;
      const entry = nothing();
      const costs = new Map<string, Pick<Measured, "operations" | "values" | "weights">>(); // by input shapes
      measured.push(entry);
      async function timed<T>(
        feeds: Record<string, Value>,
        run: () => Promise<T>,
        outputsOf: (result: T) => Record<string, HostTensor>,
      ): Promise<T> {
        const started = performance.now();
        const result = await run();
        entry.seconds += (performance.now() - started) / 1000;
        entry.runs++;
        entry.launches += model.launches;
        for (const name of session.inputs) entry.copied += bytesOnHost(feeds[name]);
        for (const output of Object.values(outputsOf(result))) entry.copied += bytesOnHost(output);
        const shapes = Object.fromEntries(Object.entries(feeds).map(([name, { shape }]) => [name, shape]));
        const key = JSON.stringify(shapes);
        if (!costs.has(key)) {
          const sizes = boundSizes(model.graph, shapes);
          const operations = floatingPointOperations(model.graph, sizes);
          costs.set(key, { operations, ...leastBytes(model.graph, sizes, weightBytes) });
        }
        const { operations, values, weights } = costs.get(key)!;
        entry.operations += operations;
        entry.values += values;
        entry.weights += weights;
        return result;
      }
      return {
        ...session,
        run: (feeds, into) =>
          timed(
            feeds,
            () => session.run(feeds, into),
            (outputs) => outputs,
          ),
        runKept: (feeds) =>
          timed(
            feeds,
            () => session.runKept(feeds),
            ({ outputs }) => outputs,
          ),
      };
    },
  };
}

const nothing = (): Measured => ({
  seconds: 0,
  runs: 0,
  launches: 0,
  operations: 0,
  values: 0,
  weights: 0,
  copied: 0,
});

const bytesOnHost = (value: Value): number => ("data" in value ? value.data.byteLength : 0);

/** Returns a function that measures GFLOP/s of a plain 1024 x 1024 x 1024 product, the best of a few. */
export async function plainProduct(engine: Engine): Promise<() => Promise<number>> {
  const n = 1024;
  const session = await engine.session(
    writeOnnx({ c: matmul(input("a", "float32", [n, n]), input("b", "float32", [n, n])) }),
  );
  const square = () => float32(new Float32Array(n * n).fill(0.5), [n, n]);
  const feeds = { a: square(), b: square() };
  const into = { c: square() };
  return async () => {
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 8; i++) {
      const started = performance.now();
      await session.run(feeds, into);
      best = Math.min(best, performance.now() - started);
    }
    return (2 * n ** 3) / best / 1e6;
  };
}

/** GFLOP/s of products of few rows with 128 MB of weights, which exceed all caches, as in the steps of AR levels. */
export async function thinProduct(engine: Engine, rows: number): Promise<number> {
  const [inner, width, count] = [1024, 4096, 8];
  const x = input("x", "float32", [rows, inner]);
  const layers = Object.fromEntries(
    Array.from({ length: count }, (_, i) => {
      const weight = float32(new Float32Array(width * inner).fill(i), [width, inner]); // all different, because equal ones would be merged
      return [`y${i}`, linear(x, constant(weight))];
    }),
  );
  const session = await engine.session(writeOnnx(layers));
  const feeds = { x: float32(new Float32Array(rows * inner).fill(0.5), [rows, inner]) };
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 8; i++) {
    const started = performance.now();
    await session.run(feeds);
    best = Math.min(best, performance.now() - started);
  }
  await session.dispose();
  return (2 * rows * inner * width * count) / best / 1e6;
}

/** Returns a function that measures GB/s (read plus written) of plain copies that exceed all caches. */
export function plainCopy(): () => number {
  return () => {
    const from = new Float32Array(16e6).fill(1);
    const to = new Float32Array(16e6);
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 8; i++) {
      const started = performance.now();
      to.set(from);
      best = Math.min(best, performance.now() - started);
    }
    return (2 * from.byteLength) / best / 1e6;
  };
}

/** The median; for an even count, the upper of the two middle values. */
export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

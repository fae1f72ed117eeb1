/** An engine that measures: seconds, runs and floating-point operations of each session; and what a plain product reaches. */

import { float32, type HostTensor } from "../src/core/arrays.ts";
import type { Engine, Session } from "../src/engine/engine.ts";
import { input, matmul } from "../src/graph/build.ts";
import { boundSizes, floatingPointOperations } from "../src/graph/cost.ts";
import { writeOnnx } from "../src/graph/onnx.ts";

export interface Measured {
  seconds: number;
  runs: number;
  operations: number;
}

/** Sessions in the order in which they were made, so that `names` can tell them apart. */
export interface MeasuringEngine extends Engine {
  measured: Measured[];
  reset(): void;
}

export function measuring(engine: Engine): MeasuringEngine {
  const measured: Measured[] = [];
  return {
    ...engine,
    measured,
    reset: () => measured.forEach((m) => Object.assign(m, { seconds: 0, runs: 0, operations: 0 })),
    async session(model, options): Promise<Session> {
      const session = await engine.session(model, options);
      const entry: Measured = { seconds: 0, runs: 0, operations: 0 };
      measured.push(entry);
      return {
        ...session,
        async run(feeds: Record<string, HostTensor>, into) {
          const started = performance.now();
          const result = await session.run(feeds, into);
          entry.seconds += (performance.now() - started) / 1000;
          entry.runs++;
          const shapes = Object.fromEntries(Object.entries(feeds).map(([name, { shape }]) => [name, shape]));
          entry.operations += floatingPointOperations(model.graph, boundSizes(model.graph, shapes));
          return result;
        },
      };
    },
  };
}

/** GFLOP/s of a plain 1024 x 1024 x 1024 product: the best of a few. */
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

/** The middle value. */
export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

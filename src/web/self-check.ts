/** Checks that an engine agrees with a reference by running every graph of a small drawing on both. */

import { placedLevels } from "../config/model.ts";
import { type DeviceTensor, freeOnDevice, type HostTensor, type TypedArray, type Value } from "../core/arrays.ts";
import type { Engine, Session } from "../engine/engine.ts";
import { input } from "../graph/build.ts";
import { formFor } from "../graph/form.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { edit } from "../sample/edit.ts";
import { rectangleMask } from "../sample/masks.ts";
import { createSampler, type SampledModel } from "../sample/sampler.ts";

/** The largest allowed relative difference and fraction of differing bytes; rounding errors are far smaller. */
const most = {
  float32: { difference: 5e-3, bytes: 0.05 },
  float16: { difference: 0.1, bytes: 0.2 },
};

export interface Agreement {
  agrees: boolean;
  /** Largest difference in any output, relative to the largest value in it. */
  difference: number;
  /** Bytes drawn, and how many of them differed. */
  bytes: number;
  differentBytes: number;
}

/**
 * Draws one first-level patch with one step per level. Both engines run every graph on the reference's inputs.
 */
export async function selfCheck(reference: Engine, other: Engine, model: SampledModel): Promise<Agreement> {
  const found: Agreement = { agrees: true, difference: 0, bytes: 0, differentBytes: 0 };
  const engine = observed(reference, other, { found, weights: model.weights });
  const sampler = createSampler(engine, model);
  try {
    const { imageSize: size, channels, levels } = model.config;
    const iterations = levels.slice(1).map(() => 1);
    const [{ patch }] = placedLevels(model.config);
    const corner = size - patch; // the last patch, which any generation order can draw given all others
    const mask = rectangleMask(size, { x: corner, y: corner, width: patch, height: patch });
    const frames = edit(sampler, new Uint8Array(size * size * channels), mask, { labels: [0], seed: 0, iterations });
    for (let next = await frames.next(); !next.done;) next = await frames.next();
  } finally {
    await sampler.dispose();
    await engine.close();
  }
  const { difference, bytes } = most[other.precision ?? "float32"];
  found.agrees = found.difference <= difference && found.differentBytes <= bytes * found.bytes;
  return found;
}

/**
 * An engine that returns the reference's results and records in `found` how the other's differ. Every graph is written
 * as it will run on the other engine, and once more in the form of the reference.
 */
function observed(
  reference: Engine,
  other: Engine,
  { found, weights }: Observation,
): Engine & { close(): Promise<void> } {
  const [copier, otherCopier] = [copierOn(reference), copierOn(other)];
  /** Copies of the tensors that the reference keeps, for the other engine. */
  const copies = new WeakMap<DeviceTensor, HostTensor>();
  const onHost = (feeds: Record<string, Value>): Record<string, Value> =>
    Object.fromEntries(
      Object.entries(feeds).map(([name, value]) => [name, "held" in value ? copies.get(value)! : value]),
    );

  /** Records the differences; returns whether all bytes are equal. */
  function compare(expected: Record<string, HostTensor>, got: Record<string, HostTensor>): boolean {
    const before = found.differentBytes;
    for (const [name, { dtype, data }] of Object.entries(expected))
      if (dtype === "float32") found.difference = Math.max(found.difference, relative(data, got[name].data));
      else {
        found.bytes += data.length;
        for (let i = 0; i < data.length; i++) if (data[i] !== got[name].data[i]) found.differentBytes++;
      }
    return found.differentBytes === before;
  }
  return {
    provider: other.provider,
    precision: other.precision,
    async session(model, options): Promise<Session> {
      const plain = writeOnnx(model.graph, { weights, ...formFor(reference) });
      const one = await reference.session(plain, options);
      const two = await other.session(model, options).catch(async (error) => {
        await one.dispose();
        throw error;
      });
      return {
        inputs: two.inputs,
        async run(feeds) {
          const expected = await one.run(feeds);
          compare(expected, await two.run(onHost(feeds)));
          return expected;
        },
        async runKept(feeds) {
          const expected = await one.runKept(feeds);
          try {
            const got = await two.runKept(onHost(feeds));
            try {
              const equal = compare(expected.outputs, got.outputs);
              for (const [name, tensor] of Object.entries(expected.kept)) {
                const copy = await copier.copy(tensor);
                copies.set(tensor, copy);
                // A graph of several steps continues from the bytes that it draws.
                if (equal) compare({ copy }, { copy: await otherCopier.copy(got.kept[name]) });
              }
            } finally {
              freeOnDevice(got.kept);
            }
            return expected;
          } catch (error) {
            freeOnDevice(expected.kept);
            throw error;
          }
        },
        async dispose() {
          await one.dispose();
          await two.dispose();
        },
      };
    },
    async close() {
      await copier.dispose();
      await otherCopier.dispose();
    },
  };
}

interface Observation {
  found: Agreement;
  weights: SampledModel["weights"];
}

/** Copies tensors of a device to the host, for which runtimes need a graph. */
function copierOn(engine: Engine) {
  const sessions = new Map<number, Session>(); // by rank
  return {
    async copy(x: DeviceTensor): Promise<HostTensor> {
      const { length } = x.shape;
      const graph = () => ({ y: input("x", x.dtype, ["A", "B", "C", "D"].slice(0, length)) });
      const session = sessions.get(length) ?? (await engine.session(writeOnnx(graph())));
      sessions.set(length, session);
      return (await session.run({ x })).y;
    },
    async dispose() {
      for (const session of sessions.values()) await session.dispose();
    },
  };
}

/** Returns Infinity if the lengths differ or the difference is not a number. */
function relative(expected: TypedArray, got: TypedArray): number {
  let [difference, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const distance = Math.abs(Number(expected[i]) - Number(got[i]));
    if (Number.isNaN(distance)) return Infinity;
    difference = Math.max(difference, distance);
    largest = Math.max(largest, Math.abs(Number(expected[i])));
  }
  return got.length === expected.length ? difference / (largest || 1) : Infinity;
}

/** How many images and threads fit into the available memory. */

import { describe, expect, it } from "vitest";
import { publishedPreset } from "../config/published.ts";
import { UserError } from "../core/errors.ts";
import { samplingBytes, samplingWithin } from "./memory.ts";

const mar = publishedPreset("fractalmar_in64");
const size = { batch: 8, lanes: 2, guided: true, iterations: [64, 16], weightBytes: 1.7e9 };

describe("the memory needed for sampling", () => {
  it("grows with images, threads, patches per step, guidance and weights", () => {
    const bytes = samplingBytes(mar, size);
    expect(samplingBytes(mar, { ...size, batch: 16 })).toBeGreaterThan(bytes);
    expect(samplingBytes(mar, { ...size, lanes: 1 })).toBeLessThan(bytes);
    expect(samplingBytes(mar, { ...size, iterations: [4, 16] })).toBeGreaterThan(bytes);
    expect(samplingBytes(mar, { ...size, guided: false })).toBeLessThan(bytes);
    expect(samplingBytes(mar, { ...size, weightBytes: 0 })).toBeCloseTo(bytes - 2 * 1.7e9, -1);
  });

  it("counts an AR level's keys and values: 8 images of FractalAR-64, with guidance, over 1 GB", () => {
    const ar = publishedPreset("fractalar_in64");
    const one = { ...size, lanes: 1, iterations: [256, 16], weightBytes: 0 };
    const [eight, sixteen] = [8, 16].map((batch) => samplingBytes(ar, { ...one, batch }));
    const past = 2 * 4 * 16 * 32 * 256 * 1024; // keys and values, float32, rows, blocks, positions, width
    expect(sixteen - eight).toBeGreaterThan(past);
  });

  it("uses what was requested if it fits; otherwise fewer threads, then fewer images, then fails", () => {
    const within = (bytes: number) => samplingWithin(mar, size, bytes);
    expect(within(samplingBytes(mar, size))).toEqual({ batch: 8, lanes: 2 });
    expect(within(samplingBytes(mar, size) - 1)).toEqual({ batch: 8, lanes: 1 });
    expect(within(samplingBytes(mar, { ...size, lanes: 1 }) - 1)).toEqual({ batch: 4, lanes: 1 });
    const least = samplingBytes(mar, { ...size, lanes: 1, batch: 1 });
    expect(within(least)).toEqual({ batch: 1, lanes: 1 });
    expect(() => within(least - 1)).toThrow(UserError);
    expect(() => within(1e9)).toThrow(/about 2\.\d+ GB of memory even for one image, but only 1\.00 GB is available/);
  });

  it("on a GPU, keeps every tensor within a buffer, however much memory there is", () => {
    const gpu = { ...size, batch: 1024, lanes: 1, weightBytes: 0, onGpu: true };
    const { batch } = samplingWithin(mar, gpu, Infinity);
    // The largest tensors are the keys or hidden values inside: [batch * 4 patches of 64 * 2 ways, 16 + 5, 4 * width].
    expect(batch).toBeGreaterThanOrEqual(16);
    expect(batch).toBeLessThan(1024);
    expect(samplingWithin(mar, { ...gpu, onGpu: false }, Infinity).batch).toBe(1024);
    expect(samplingWithin(mar, { ...gpu, batch: batch / 2 }, Infinity).batch).toBe(batch / 2);
  });

  it("splits an odd batch among threads as sampling does", () => {
    expect(samplingBytes(mar, { ...size, batch: 3 })).toBe(samplingBytes(mar, { ...size, batch: 4 }));
  });
});

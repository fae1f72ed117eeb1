/** Several threads draw the same images as one. They can be stopped, and survive failures. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { nodeEngine } from "../engine/node.ts";
import { replaceFolder } from "../files/atomic.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { readCase } from "../parity/case.ts";
import { createSampler, type Frame, type SampleOptions, type Sampler } from "../sample/sampler.ts";
import { firstOf } from "../test-depth.ts";
import { fromBuild } from "../test-program.ts";
import type * as Sampling from "./sampling.ts";

const { parallelSampler } = await fromBuild<typeof Sampling>("workers/sampling");

const temporary = mkdtempSync(join(tmpdir(), "fractalgen-sampling-"));
const { config, weights } = await readCase(fileURLToPath(new URL("../../fixtures/parity/mar-3level", import.meta.url)));
await writeModelFolder(temporary, config, weights);
const model = readModelFolder(temporary);
const one = createSampler(await nodeEngine({ threads: 1 }), externalModel(model));
const three = parallelSampler(model, { threads: 3 });
afterAll(async () => {
  await Promise.all([one.dispose(), three.dispose()]);
  rmSync(temporary, { recursive: true });
});

const options = { labels: [0, 1, 2, 1, 0], indices: [4, 3, 9, 1, 0], seed: 3, iterations: [4, 2], temperature: 40 };

async function drawn(sampler: Sampler, given: SampleOptions): Promise<{ images: Uint8Array; frames: Frame[] }> {
  const frames: Frame[] = [];
  const stream = sampler.sample(given);
  for (;;) {
    const next = await stream.next();
    if (next.done) return { images: next.value, frames };
    frames.push({ ...next.value, images: next.value.images.slice() });
  }
}

describe("sampling on three threads", () => {
  it.each(firstOf([2, 5, 1, 4]))("draws the images of one thread, in batches of %d", async (batch) => {
    const [many, single] = [await drawn(three, { ...options, batch }), await drawn(one, { ...options, batch })];
    expect(many.images).toEqual(single.images);
  });

  it("yields the frames of one thread, step by step", async () => {
    for (const batch of [5, 2]) {
      const [many, single] = [await drawn(three, { ...options, batch }), await drawn(one, { ...options, batch })];
      expect(many.frames.length).toBe(single.frames.length);
      many.frames.forEach((frame, i) => {
        const { done, ...rest } = single.frames[i];
        expect(frame).toMatchObject(rest);
        expect(frame.done).toBeCloseTo(done, 12);
      });
    }
  });

  it("edits like one thread, with a mask and a seed per image, and finishes each pixel in one frame", async () => {
    const { imageSize: size, channels } = config;
    const mask = Uint8Array.from({ length: 5 * size ** 2 }, (_, at) =>
      Number(at % (3 + Math.floor(at / size ** 2)) > 1),
    );
    const images = Uint8Array.from({ length: mask.length * channels }, (_, at) => (at * 37) % 256);
    for (const batch of [5]) {
      const given = { ...options, batch, guidance: 2, seed: [1, 2, 3, 4, 5], known: { images, mask } };
      const [many, single] = [await drawn(three, given), await drawn(one, given)];
      expect(many.images).toEqual(single.images);
      expect(many.frames.at(-1)!.done).toBeCloseTo(1, 12);
      const times = new Uint8Array(mask.length);
      for (const { finished, images: shown } of many.frames) {
        if (finished.side === 1)
          finished.image.forEach((image, i) => times[(image * size + finished.y[i]) * size + finished.x[i]]++);
        const expected = many.images.map((byte, at) => {
          const pixel = Math.floor(at / channels);
          return mask[pixel] === 0 || times[pixel] > 0 ? byte : 128;
        });
        expect(Buffer.compare(shown, expected)).toBe(0);
      }
      expect(times).toEqual(mask);
    }
    const keptWhole = { images, mask: mask.fill(0, 0, size ** 2) };
    await expect(drawn(three, { ...options, known: keptWhole })).rejects.toThrow(/^mask: it marks nothing to redraw/);
    expect((await drawn(three, options)).images).toEqual((await drawn(one, options)).images);
  });

  it("stops on request, and draws again afterwards", async () => {
    const stopped = new AbortController();
    const stream = three.sample({ ...options, signal: stopped.signal });
    await stream.next();
    stopped.abort();
    await expect(stream.next()).rejects.toThrow("aborted");
    const left = three.sample(options);
    await left.next();
    await left.return(new Uint8Array());
    expect((await drawn(three, options)).images).toEqual((await drawn(one, options)).images);
  });

  it("stops drawing images that are no longer needed, whichever thread has them", async () => {
    // Enough work that the threads are far from done when they are told, on a busy machine too.
    const labels = Array.from({ length: 48 }, (_, i) => i % 3);
    const all = { ...options, labels, indices: undefined, batch: 48, iterations: [16, 8], guidance: 2 };
    const expected = await drawn(one, all);
    const aborters = all.labels.map(() => new AbortController());
    const signals = aborters.map(({ signal }) => signal);
    const dropped = labels.flatMap((_, i) => (i < 16 || i % 5 === 0 ? [i] : [])); // includes all of the first thread
    const finished = aborters.map(() => 0);
    const stream = three.sample({ ...all, signals });
    let images: Uint8Array | undefined;
    let share = 0;
    while (!images) {
      const { done, value } = await stream.next();
      if (done) images = value;
      else {
        share = value.done;
        if (value.finished.side === 1) for (const image of value.finished.image) finished[image]++;
      }
      for (const image of dropped) aborters[image].abort();
    }
    expect(share).toBe(1);
    const bytes = images.length / labels.length;
    const pixels = config.imageSize ** 2;
    for (let i = 0; i < labels.length; i++)
      if (dropped.includes(i)) expect(finished[i]).toBeLessThan(pixels);
      else
        expect(images.subarray(i * bytes, (i + 1) * bytes)).toEqual(
          expected.images.subarray(i * bytes, (i + 1) * bytes),
        );
    expect((await drawn(three, options)).images).toEqual((await drawn(one, options)).images);
  });

  it("throws the error of a thread, and still works afterwards", async () => {
    await expect(drawn(three, { ...options, labels: [0, 1, 99, 1, 0] })).rejects.toThrow(/out of data bounds/);
    expect((await drawn(three, options)).images).toEqual((await drawn(one, options)).images);
  });

  it("draws again after all threads failed, and accepts one call at a time", async () => {
    const failing = drawn(three, { ...options, labels: [99, 99, 99, 99, 99] });
    await expect(failing).rejects.toThrow(/out of data bounds/);
    for (const end = performance.now() + 200; performance.now() < end;); // the threads answer while nobody reads
    const again = three.sample(options);
    await again.next();
    await expect(three.sample(options).next()).rejects.toThrow(/is already drawing/);
    await again.return(new Uint8Array());
    expect((await drawn(three, options)).images).toEqual((await drawn(one, options)).images);
  });

  it("never mixes the weights of two checkpoints: a thread begins again with the new ones", async () => {
    const folder = join(temporary, "last");
    const write = (model: typeof config, factor: number) =>
      replaceFolder(folder, (filled) =>
        writeModelFolder(filled, model, new Map([...weights].map(([name, of]) => [name, of.map((x) => x * factor)]))),
      );
    await write(config, 1);
    const [old, threads] = [readModelFolder(folder), parallelSampler(readModelFolder(folder), { threads: 2 })];
    const single = createSampler(await nodeEngine({ threads: 1 }), externalModel(old));
    const given = { ...options, labels: [0, 1], indices: [4, 3] };
    const before = await drawn(single, given);
    expect((await drawn(threads, given)).images).toEqual(before.images);
    await write(config, 0.5);
    const fresh = createSampler(await nodeEngine({ threads: 1 }), externalModel(readModelFolder(folder)));
    // No graph is missing, so all weights are in memory; with guidance, graphs are.
    expect((await drawn(threads, given)).images).toEqual(before.images);
    const guided = { ...given, guidance: 2 };
    const message = `${join(folder, "model.safetensors")}: it was replaced while it was in use; run the command again`;
    await expect(drawn(single, guided)).rejects.toThrow(message);
    expect((await drawn(threads, guided)).images).toEqual((await drawn(fresh, guided)).images);
    const after = (await drawn(fresh, given)).images;
    expect(after).not.toEqual(before.images);
    expect((await drawn(threads, given)).images).toEqual(after);
    expect((await drawn(single, given)).images).toEqual(before.images);
    // Another model in the same place is not drawn in place of the one that was asked for.
    await write({ ...config, name: "another" }, 1);
    await expect(drawn(threads, { ...guided, temperature: 1, topP: 0.5 })).rejects.toThrow(message);
    await Promise.all([single, fresh, threads].map((sampler) => sampler.dispose()));
  });

  it("throws one error if threads cannot be opened, and refuses an empty batch", async () => {
    const gone = parallelSampler({ ...model, folder: join(temporary, "gone") }, { threads: 2 });
    await expect(drawn(gone, options)).rejects.toThrow(/there is no model folder/);
    await gone.dispose();
    await expect(drawn(three, { ...options, batch: 0 })).rejects.toThrow(/batch of at least 1/);
  });
});

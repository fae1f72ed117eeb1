/** Draws an image, then redraws its middle in three ways: node --import tsx examples/edit.ts OUT.png */

import { writeFileSync } from "node:fs";
import {
  centre,
  createSampler,
  edit,
  externalModel,
  findModel,
  gridPng,
  nodeEngine,
  parseClasses,
  rectangleMask,
} from "../src/index.ts";

const [out = "edited.png"] = process.argv.slice(2);
const sampler = createSampler(await nodeEngine(), externalModel(await findModel("emoji")));
const { imageSize: size, channels } = sampler.config;
const [[face]] = parseClasses("face", sampler.config);
const iterations = [8, 4]; // few steps, for speed

/** The last value of a stream of frames: the finished images, one after another. */
async function finished(frames: AsyncGenerator<unknown, Uint8Array>): Promise<Uint8Array> {
  for (;;) {
    const next = await frames.next();
    if (next.done) return next.value;
  }
}

// Any image of the model's size will do: [size, size, channels] bytes.
const image = await finished(sampler.sample({ labels: [face], seed: 1, iterations }));

// 1 is drawn, 0 is kept. Three labels give three variants, each from random numbers of its own.
const mask = rectangleMask(size, centre(size, 12));
const variants = await finished(edit(sampler, image, mask, { labels: [face, face, face], seed: 2, iterations }));
await sampler.dispose();

const bytes = image.length;
const kept = [0, 1, 2].every((variant) =>
  image.every((value, at) => mask[Math.floor(at / channels)] === 1 || variants[variant * bytes + at] === value),
);
const all = new Uint8Array(4 * bytes);
all.set(image);
all.set(variants, bytes);
const labels = ["given", "1", "2", "3"];
writeFileSync(out, await gridPng(all, { count: 4, size, channels, columns: 4, labels }));
console.log(`${out}: the pixels outside the mask ${kept ? "are kept to the byte" : "have changed"}`);

// Prints "edited.png: the pixels outside the mask are kept to the byte".

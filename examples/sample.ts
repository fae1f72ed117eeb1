/** Draws images of named classes and saves them as one grid: node --import tsx examples/sample.ts OUT.png */

import { writeFileSync } from "node:fs";
import { findModel, gridPng, labelsInTurn, parallelSampler, parseClasses } from "../src/index.ts";

const [out = "samples.png"] = process.argv.slice(2);

// The model that ships with the package. A path works too: a model folder, or the folder of a training run.
const sampler = parallelSampler(await findModel("emoji")); // a worker thread for each core
const { imageSize: size, channels, classes } = sampler.config;
const labels = labelsInTurn(parseClasses("heart,face", sampler.config), 4); // a heart, a kind of face, and again

// Each frame is one step of one level. `images` holds all images so far; pixels not drawn yet are grey.
let images = new Uint8Array();
let shown = 0;
for await (const frame of sampler.sample({ labels, seed: 1, guidance: 4, iterations: [8, 4] })) {
  images = new Uint8Array(frame.images);
  if (frame.done < shown + 0.25) continue;
  shown += 0.25;
  console.log(`${Math.round(frame.done * 100)}% drawn`);
}
await sampler.dispose();

const names = labels.map((label) => classes[label]);
writeFileSync(out, await gridPng(images, { count: labels.length, size, channels, labels: names }));
console.log(`${out}: ${names.join(", ")}`);

// Prints four lines such as "25% drawn", and at the end "samples.png: heart, smiling face, heart, loving face".

/**
 * The script of a small page: fetches a model, draws an image with it in WebAssembly and shows it filling in.
 * examples/browser.html is its page: npx vite examples
 */

import * as runtime from "onnxruntime-web/wasm";
import { createSampler, fetchModel, parseClasses, webEngine } from "../src/browser.ts";

const status = document.querySelector("p")!;
const context = document.querySelector("canvas")!.getContext("2d")!;

// `model/` holds config.json and model.safetensors: a copy of models/emoji, or of a model that you trained.
const model = await fetchModel("model/", (share) => (status.textContent = `fetched ${Math.round(share * 100)}%`));
const engine = await webEngine(runtime as unknown as Parameters<typeof webEngine>[0], { files: model.files });
const sampler = createSampler(engine, model);
const { imageSize: size } = model.config;

const [labels] = parseClasses("heart", model.config);
for await (const { images, done } of sampler.sample({ labels, seed: 1, guidance: 4, iterations: [8, 4] })) {
  const picture = context.createImageData(size, size);
  for (let i = 0; i < size * size; i++) picture.data.set([...images.subarray(i * 3, i * 3 + 3), 255], i * 4);
  context.putImageData(picture, 0, 0);
  status.textContent = `${Math.round(done * 100)}% drawn`;
  await new Promise(requestAnimationFrame); // lets the page show it; a program with more to do runs this in a worker
}
await sampler.dispose();

// The page shows "fetched 100%", then counts up to "100% drawn" while a heart fills in.

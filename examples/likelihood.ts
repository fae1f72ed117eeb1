/** How well a model predicts your images, in bits per dimension: node --import tsx examples/likelihood.ts FOLDER [COUNT] */

import { tmpdir } from "node:os";
import { externalModel, findModel, likelihoods, nodeEngine, openDataset, meanOf } from "../src/index.ts";

const [folder, count = "8"] = process.argv.slice(2);
const model = externalModel(await findModel("emoji"));
const { imageSize, channels } = model.config;

// Images are cropped and scaled to the model's size, and cached so that the next run starts immediately. A twentieth is held
// out; these are the others.
const { train: images } = await openDataset(folder, {
  imageSize,
  channels,
  cache: `${tmpdir()}/fractalgen-likelihood`,
});
const some = { ...images, count: Math.min(images.count, Number(count)) };

// An uncompressed image has 8 bits per dimension (a dimension is one channel of one pixel). PNG takes 2 to 5.
const found = [];
for await (const { index, bits } of likelihoods(await nodeEngine(), model, some, { passes: 2 })) {
  console.log(`${images.names[index]}: ${bits.toFixed(2)} bits per dimension`);
  found.push(bits);
}
const { bits, error } = meanOf(found);
console.log(`mean ${bits.toFixed(2)} ± ${error.toFixed(2)}`);

// Prints a line for each image and their mean, such as "mean 4.31 ± 0.40". These are estimates, because the shipped
// model has MAR levels: `passes` is the number of estimates to average, and `inOrder: true` is exact for one generation order.

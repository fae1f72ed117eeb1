/**
 * The code of docs/tutorial.md: a complete fractal generative model, from tensors to pictures. It trains for about a minute.
 * node --import tsx examples/tutorial.ts FOLDER [STEPS]
 */

import { mkdirSync, writeFileSync } from "node:fs";
import * as g from "../src/graph/index.ts";
import type { HostTensor, Tensor } from "../src/graph/index.ts";
import { gridPng, nodeEngine } from "../src/index.ts";
import { recursionSvg } from "./tutorial-pictures.ts";

// Data: shapes of one colour on white, 16x16 pixels. A channel has one of four values: 0, 85, 170 or 255.
const shapes = ["circle", "square", "triangle"];
const parts = 16; // an image has 16 patches, and a patch 16 pixels
const values = 4;

/** Where the pixel (x, y) of an image lies when its patches, and in each patch its pixels, follow one another. */
const place = (x: number, y: number): number =>
  (Math.floor(y / 4) * 4 + Math.floor(x / 4)) * parts + (y % 4) * 4 + (x % 4);

/** Image `index` of an endless data set: 16 * 16 * 3 values from 0 to 3, in that order, and which shape it shows. */
function example(index: number): { image: Int32Array; label: number } {
  const key = g.derive(g.seedKey(1), index);
  const random = (n: number, low: number, high: number) => low + Math.floor(g.uniform(key, n) * (high - low + 1));
  const [label, radius] = [random(0, 0, 2), random(1, 3, 5)];
  const [cx, cy] = [random(2, radius, 15 - radius), random(3, radius, 15 - radius)];
  const colour = [random(4, 0, 3), random(5, 0, 2), random(6, 0, 2)];
  const image = new Int32Array(parts * parts * 3).fill(values - 1);
  for (let y = cy - radius; y <= cy + radius; y++)
    for (let x = cx - radius; x <= cx + radius; x++) {
      const inside = [(x - cx) ** 2 + (y - cy) ** 2 <= radius ** 2 + 1, true, 2 * Math.abs(x - cx) <= y - cy + radius];
      if (inside[label]) image.set(colour, place(x, y) * 3);
    }
  return { image, label };
}

// Weights: each starts as small random numbers when a graph first asks for it.
const weights = new Map<string, HostTensor<Float32Array>>();

function weight(name: string, ...shape: number[]): Tensor {
  if (!weights.has(name)) {
    const [key, spread] = [g.derive(g.seedKey(2), weights.size), 0.5 / Math.sqrt(shape.at(-1)!)];
    const start = Float32Array.from({ length: g.product(shape) }, (_, i) => spread * g.normal(key, i));
    weights.set(name, g.float32(start, shape));
  }
  return g.parameter(name, shape);
}

// The model: two levels of one kind, the image and the patch, and then the three channels of a pixel.
const levels = [
  { name: "image", width: 64, depth: 2, size: parts * parts * 3 },
  { name: "patch", width: 32, depth: 1, size: parts * 3 },
];
const widthAbove = (level: number): number => levels[Math.max(0, level - 1)].width;

const causal = g.constant(
  g.float32(
    Array.from({ length: parts ** 2 }, (_, i) => (i % parts > Math.floor(i / parts) ? -1e9 : 0)),
    [parts, parts],
  ),
);

/** Every token becomes a mean of the tokens up to it, weighted by how well their keys match its query. */
function attention(name: string, x: Tensor): Tensor {
  const width = g.dim(x, -1) as number;
  const [q, k, v] = ["q", "k", "v"].map((part) => g.linear(x, weight(`${name}.${part}`, width, width)));
  const scores = g.mul(g.matmul(q, k, { transB: true }), 1 / Math.sqrt(width)); // [R, 16, 16]
  return g.linear(g.matmul(g.softmax(g.add(scores, causal)), v), weight(`${name}.out`, width, width));
}

function norm(x: Tensor): Tensor {
  const width = g.dim(x, -1) as number;
  const all = (value: number) => g.constant(g.float32(new Float32Array(width).fill(value), [width]));
  return g.layerNorm(x, all(1), all(0), 1e-5);
}

/** For each part of a square what is known when it is drawn: condition [R, E], square [R, size] int32 -> [R, 16, D]. */
function generator(level: number, condition: Tensor, square: Tensor): Tensor {
  const { name, width, depth, size } = levels[level];
  const rows = g.dim(condition, 0) as number;
  const scaled = g.sub(g.mul(g.cast(square, "float32"), 2 / (values - 1)), 1); // -1 to 1
  const earlier = g.slice(g.reshape(scaled, [rows, parts, size / parts]), 1, 0, parts - 1);
  const first = g.linear(condition, weight(`${name}.condition`, width, widthAbove(level)));
  const others = g.linear(earlier, weight(`${name}.parts`, width, size / parts));
  let x = g.add(g.concat([g.reshape(first, [rows, 1, width]), others], 1), weight(`${name}.positions`, parts, width));
  for (let block = 0; block < depth; block++) {
    x = g.add(x, attention(`${name}.${block}`, norm(x)));
    const hidden = g.gelu(g.linear(norm(x), weight(`${name}.${block}.up`, 4 * width, width)));
    x = g.add(x, g.linear(hidden, weight(`${name}.${block}.down`, width, 4 * width)));
  }
  return norm(x);
}

/** Logits of red, of green given red, and of blue given both: condition [R, E], pixel [R, 3] int32 -> [R, 3, 4]. */
function channels(condition: Tensor, pixel: Tensor): Tensor {
  const width = widthAbove(levels.length);
  let x = condition;
  const logits = [0, 1, 2].map((channel) => {
    const hidden = g.gelu(g.linear(x, weight(`pixel.${channel}.hidden`, 4 * width, width)));
    const own = g.linear(hidden, weight(`pixel.${channel}.logits`, values, 4 * width));
    if (channel < 2)
      x = g.add(x, g.embedding(weight(`pixel.${channel}.value`, values, width), g.pick(pixel, 1, channel)));
    return g.reshape(own, [g.dim(own, 0), 1, values]);
  });
  return g.concat(logits, 1);
}

// Training: the recursion runs down once, for all squares of all levels side by side.
/** The mean bits of a value in squares of a level: condition [R, E], square [R, size] int32 -> a scalar. */
function bits(level: number, condition: Tensor, square: Tensor): Tensor {
  const rows = g.dim(condition, 0) as number;
  if (level === levels.length) {
    const logits = g.reshape(channels(condition, square), [rows * 3, values]);
    const nats = g.crossEntropy(logits, g.cast(g.reshape(square, [rows * 3]), "int64"));
    return g.mul(g.sum(nats, [0]), 1 / (rows * 3 * Math.LN2));
  }
  const { width, size } = levels[level];
  const inside = g.reshape(generator(level, condition, square), [rows * parts, width]);
  return bits(level + 1, inside, g.reshape(square, [rows * parts, size / parts]));
}

const engine = await nodeEngine();
const [folder = "out/tutorial", steps = "600"] = process.argv.slice(2);
const total = Number(steps);
const batch = 32;

const images = g.input("images", "int32", [batch, levels[0].size]);
const labels = g.input("labels", "int32", [batch]);
const classes = () => weight("classes", shapes.length, levels[0].width);
const loss = bits(0, g.embedding(classes(), labels), images);
const learnt = g.topological([loss]).filter((node) => g.is(node, "parameter"));
const slopes = g.gradients(loss, learnt);
const outputs = Object.fromEntries(learnt.map(({ attributes: { name } }, i) => [`d ${name}`, slopes[i]]));
const training = await engine.session(g.writeOnnx({ loss, ...outputs }));
const moments = new Map(
  [...weights].map(([name, { data }]) => [
    name,
    { first: new Float32Array(data.length), second: new Float32Array(data.length) },
  ]),
);

async function trainingStep(step: number): Promise<number> {
  const chosen = Array.from({ length: batch }, (_, i) => example(step * batch + i));
  const results = await training.run({
    ...Object.fromEntries(weights),
    images: g.int32(
      chosen.flatMap(({ image }) => [...image]),
      images.shape as number[],
    ),
    labels: g.int32(
      chosen.map(({ label }) => label),
      [batch],
    ),
  });
  const learningRate = 0.004 * Math.cos((Math.PI / 2) * (step / total)) + 1e-4;
  const options = { learningRate, betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.01 } as const;
  for (const [name, { data }] of weights)
    g.adamw(data, results[`d ${name}`].data as Float32Array, moments.get(name)!, options, { step: step + 1 });
  return results["loss"].data[0] as number;
}

// Sampling: the recursion itself. A square is drawn part by part, and each part by the level below.
const count = 12;
const steppers = await Promise.all(
  [...levels.map(({ size }) => size), 3].map((size, level) => {
    const condition = g.input("condition", "float32", [count, widthAbove(level)]);
    const square = g.input("square", "int32", [count, size]);
    const out = level < levels.length ? generator(level, condition, square) : channels(condition, square);
    return engine.session(g.writeOnnx({ out }));
  }),
);

/** Squares of a level for conditions [12, E], drawn with `random`: [12, size]. */
async function draw(level: number, condition: Float32Array, random: () => number): Promise<Int32Array> {
  const last = level === levels.length;
  const size = last ? 3 : levels[level].size;
  const square = new Int32Array(count * size);
  for (let part = 0; part < (last ? 3 : parts); part++) {
    const { out } = await steppers[level].run({
      ...Object.fromEntries(weights),
      condition: g.float32(condition, [count, widthAbove(level)]),
      square: g.int32(square, [count, size]),
    });
    const width = out.shape[2]; // of [12, parts, width]: take this part's row of each square
    const rows = Float32Array.from({ length: count * width }, (_, i) =>
      Number(out.data[(Math.floor(i / width) * out.shape[1] + part) * width + (i % width)]),
    );
    const drawn = last ? choices(rows, random) : await draw(level + 1, rows, random);
    const each = drawn.length / count;
    for (let i = 0; i < count; i++) square.set(drawn.subarray(i * each, (i + 1) * each), i * size + part * each);
  }
  return square;
}

/** One value for each row of logits [12, 4], each with the probability that softmax gives it. */
function choices(logits: Float32Array, random: () => number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => {
    const odds = logits.subarray(i * values, (i + 1) * values).map(Math.exp);
    let left = random() * odds.reduce((a, b) => a + b);
    return odds.findIndex((odd) => (left -= odd) < 0);
  }).map((value) => (value < 0 ? values - 1 : value)); // where rounding left a remainder
}

/** One image of each shape in turn, always from the same random numbers. */
function sample(): Promise<Int32Array> {
  const table = weights.get("classes")!.data;
  const width = levels[0].width;
  const condition = Float32Array.from({ length: count * width }, (_, i) => {
    const label = Math.floor(i / width) % shapes.length;
    return table[label * width + (i % width)];
  });
  let drawn = 0;
  return draw(0, condition, () => g.uniform(g.seedKey(3), drawn++));
}

// The run: train, draw four times on the way, and write the pictures.
/** Rows of bytes for pictures, from values in the order of patches. */
function bytes(square: Int32Array): Uint8Array {
  const picture = new Uint8Array(square.length);
  for (let i = 0; i < square.length; i++) {
    const [image, pixel, channel] = [Math.floor(i / 768), Math.floor((i % 768) / 3), i % 3];
    picture[i] = 85 * square[image * 768 + place(pixel % 16, Math.floor(pixel / 16)) * 3 + channel];
  }
  return picture;
}

mkdirSync(folder, { recursive: true });
const data = Array.from({ length: count }, (_, i) => example(i));
const options = { size: 16, channels: 3, columns: count };
const shown = Int32Array.from(data.flatMap(({ image }) => [...image]));
const named = data.map(({ label }) => shapes[label]);
writeFileSync(`${folder}/data.png`, await gridPng(bytes(shown), { ...options, count, labels: named }));

const drawings: Int32Array[] = [];
for (let step = 0; step < total; step++) {
  if (step === 0 || step === Math.floor(total / 16) || step === Math.floor(total / 4)) drawings.push(await sample());
  const now = await trainingStep(step);
  if (step % 50 === 0 || step === total - 1) console.log(`step ${step}: ${now.toFixed(3)} bits per value`);
}
drawings.push(await sample());
const drawn = Int32Array.from(drawings.flatMap((images) => [...images]));
const titles = drawings.flatMap(() => data.map((_, i) => shapes[i % shapes.length]));
writeFileSync(
  `${folder}/samples.png`,
  await gridPng(bytes(drawn), { ...options, count: titles.length, labels: titles }),
);
writeFileSync(
  `${folder}/recursion.svg`,
  recursionSvg(bytes(drawings.at(-1)!.subarray(0, 768)), { patch: 6, pixel: 9 }),
);
console.log(`data.png, samples.png and recursion.svg are in ${folder}`);

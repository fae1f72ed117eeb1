/**
 * The code of docs/tutorial.md: a complete fractal generative model, from tensors to pictures. It trains for about a minute.
 * node --import tsx examples/tutorial.ts FOLDER [STEPS]
 */

import * as g from "../src/graph/index.ts";
import type { HostTensor, Tensor } from "../src/graph/index.ts";
import { nodeEngine } from "../src/index.ts";
import { batchOf, parts, shapes, values, writePictures } from "./tutorial-shapes.ts";

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
  { name: "image", width: 96, depth: 2, heads: 4, size: parts * parts * 3 },
  { name: "patch", width: 32, depth: 1, heads: 2, size: parts * 3 },
];
const widthAbove = (level: number): number => levels[Math.max(0, level - 1)].width;

const causal = g.constant(
  g.float32(
    Array.from({ length: parts ** 2 }, (_, i) => (i % parts > Math.floor(i / parts) ? -1e9 : 0)),
    [parts, parts],
  ),
);

/** Every token becomes a mean of the tokens up to it, weighted by how well their keys match its query; separately for each head. */
function attention(name: string, x: Tensor, heads: number): Tensor {
  const [rows, width] = [g.dim(x, 0), g.dim(x, -1) as number];
  const [q, k, v] = ["q", "k", "v"].map((part) => {
    const all = g.linear(x, weight(`${name}.${part}`, width, width));
    return g.transpose(g.reshape(all, [rows, parts, heads, width / heads]), [0, 2, 1, 3]); // [R, H, 16, D/H]
  });
  const scores = g.mul(g.matmul(q, k, { transB: true }), Math.sqrt(heads / width)); // [R, H, 16, 16]
  const means = g.transpose(g.matmul(g.softmax(g.add(scores, causal)), v), [0, 2, 1, 3]);
  return g.linear(g.reshape(means, [rows, parts, width]), weight(`${name}.out`, width, width));
}

function norm(x: Tensor): Tensor {
  const width = g.dim(x, -1) as number;
  const all = (value: number) => g.constant(g.float32(new Float32Array(width).fill(value), [width]));
  return g.layerNorm(x, all(1), all(0), 1e-5);
}

/** For each part of a square what is known when it is drawn: condition [R, E], square [R, size] int32 -> [R, 16, D]. */
function generator(level: number, condition: Tensor, square: Tensor): Tensor {
  const { name, width, depth, heads, size } = levels[level];
  const rows = g.dim(condition, 0) as number;
  const scaled = g.sub(g.mul(g.cast(square, "float32"), 2 / (values - 1)), 1); // -1 to 1
  const earlier = g.slice(g.reshape(scaled, [rows, parts, size / parts]), 1, 0, parts - 1);
  const first = g.linear(condition, weight(`${name}.condition`, width, widthAbove(level)));
  const others = g.linear(earlier, weight(`${name}.parts`, width, size / parts));
  let x = g.add(g.concat([g.reshape(first, [rows, 1, width]), others], 1), weight(`${name}.positions`, parts, width));
  for (let block = 0; block < depth; block++) {
    x = g.add(x, attention(`${name}.${block}`, norm(x), heads));
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

// Training: the recursion goes down once, with all squares of a level in parallel.
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
const [folder = "out/tutorial", steps = "1000"] = process.argv.slice(2);
const total = Number(steps);
const batch = 24;

const images = g.input("images", "int32", [batch, levels[0].size]);
const labels = g.input("labels", "int32", [batch]);
const classes = weight("classes", shapes.length, levels[0].width);
const loss = bits(0, g.embedding(classes, labels), images);
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
  const results = await training.run({ ...Object.fromEntries(weights), ...batchOf(step, batch) });
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
    const chosen = odds.findIndex((odd) => (left -= odd) < 0);
    return chosen < 0 ? values - 1 : chosen; // rounding can leave a remainder
  });
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
const drawings: { step: number; images: Int32Array }[] = [];
for (let step = 0; step < total; step++) {
  if ([0, 1 / 16, 1 / 4].some((share) => step === Math.floor(share * total)))
    drawings.push({ step, images: await sample() });
  const now = await trainingStep(step);
  if (step % 50 === 0 || step === total - 1) console.log(`step ${step}: ${now.toFixed(3)} bits per value`);
}
drawings.push({ step: total, images: await sample() });
console.log(`pictures: ${(await writePictures(folder, drawings)).join(", ")}`);

/**
 * A first gradient: a small network learns a curve, with only tensors, gradients and an engine.
 * node --import tsx examples/first-gradient.ts
 */

import {
  add,
  adamw,
  float32,
  gradients,
  input,
  linear,
  mul,
  normal,
  parameter,
  seedKey,
  sigmoid,
  sub,
  sum,
  writeOnnx,
} from "../src/graph/index.ts";
import { nodeEngine } from "../src/index.ts";

// A graph has no values yet: inputs and parameters are names with shapes.
const count = 64;
const x = input("x", "float32", [count, 1]);
const y = input("y", "float32", [count, 1]);
const shapes = { "hidden.weight": [16, 1], "hidden.bias": [16], "out.weight": [1, 16], "out.bias": [1] };
const parameters = Object.entries(shapes).map(([name, shape]) => parameter(name, shape));
const [w1, b1, w2, b2] = parameters;

const hidden = sigmoid(linear(x, w1, b1)); // [64, 16]
const wrong = sub(linear(hidden, w2, b2), y); // [64, 1]
const loss = mul(sum(mul(wrong, wrong), [0, 1]), 1 / count); // the mean squared error, a scalar

// The gradients are tensors like any others: one graph computes the loss and all of them.
const slopes = gradients(loss, parameters);
const outputs = Object.fromEntries(Object.keys(shapes).map((name, i) => [`d ${name}`, slopes[i]]));
const session = await (
  await nodeEngine({ threads: 1 })
).session(writeOnnx({ loss, prediction: add(wrong, y), ...outputs }));

// Values: one period of a sine, and weights that start at random.
const xs = Float32Array.from({ length: count }, (_, i) => i / count);
const data = {
  x: float32(xs, [count, 1]),
  y: float32(
    xs.map((at) => Math.sin(2 * Math.PI * at)),
    [count, 1],
  ),
};
const weights = Object.entries(shapes).map(([name, shape], i) => {
  const length = shape.reduce((a, b) => a * b);
  const value = Float32Array.from({ length }, (_, n) => 3 * normal(seedKey(i), n));
  return { name, shape, value, first: new Float32Array(length), second: new Float32Array(length) };
});
const feeds = () => ({
  ...data,
  ...Object.fromEntries(weights.map(({ name, shape, value }) => [name, float32(value, shape)])),
});

// Is the first slope right? Compare it with the effect of a small change of the weight on the loss.
const before = await session.run(feeds());
weights[0].value[0] += 0.01;
const after = await session.run(feeds());
weights[0].value[0] -= 0.01;
const measured = (Number(after["loss"].data[0]) - Number(before["loss"].data[0])) / 0.01;
console.log(`slope ${Number(before["d hidden.weight"].data[0]).toFixed(3)}, measured ${measured.toFixed(3)}`);

const options = { learningRate: 0.03, betas: [0.9, 0.99], eps: 1e-8, weightDecay: 0 } as const;
for (let step = 1; step <= 1000; step++) {
  const results = await session.run(feeds());
  if (step === 1 || step % 250 === 0) console.log(`step ${step}: loss ${Number(results["loss"].data[0]).toFixed(4)}`);
  for (const { name, value, ...moments } of weights)
    adamw(value, results[`d ${name}`].data as Float32Array, moments, options, { step });
}

// Prints the slope twice, equal to about two digits, and a loss that falls from above 1 to below 0.001.

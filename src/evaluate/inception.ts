/**
 * The Inception-v3 that FID, KID and the Inception Score are defined with: TensorFlow's network of December 2015, as computed by
 * torch-fidelity (github toshas/torch-fidelity, `FeatureExtractorInceptionV3`). Knows nothing about metrics and files.
 */

import {
  add,
  averagePool,
  cast,
  concat,
  convolution,
  div,
  input,
  linear,
  maxPool,
  mean,
  mul,
  parameter,
  relu,
  reshape,
  resize,
  sqrt,
  sub,
  transpose,
} from "../graph/build.ts";
import { dim, is, type Tensor, topological } from "../graph/tensor.ts";

/** The outputs, with torch-fidelity's names: means of four layers over an image, and 1008 logits. */
export type InceptionFeature = "64" | "192" | "768" | "2048" | "logits_unbiased" | "logits";

/** The side length that images are resized to. */
const side = 299;
/** 1000 of the logits are classes of ImageNet. */
const logitCount = 1008;

type Pair = readonly [height: number, width: number];
const three: Pair = [3, 3];

/** From bytes `images` [B, H, W, 3] of any size to every feature [B, width], float32. */
export function inceptionGraph(): Record<InceptionFeature, Tensor> {
  const bytes = cast(input("images", "uint8", ["B", "H", "W", 3]), "float32");
  const resized = resize(transpose(bytes, [0, 3, 1, 2]), side, side); // [B, 3, 299, 299]
  let x = div(sub(resized, 128), 128);
  x = unit(x, "Conv2d_1a_3x3", 32, { size: three, stride: 2 }); // [B, 32, 149, 149]
  x = unit(x, "Conv2d_2a_3x3", 32, { size: three });
  x = unit(x, "Conv2d_2b_3x3", 64, { size: three, same: true });
  x = maxPool(x, three, { strides: [2, 2] });
  const x64 = x; // [B, 64, 73, 73]
  x = unit(x, "Conv2d_3b_1x1", 80);
  x = unit(x, "Conv2d_4a_3x3", 192, { size: three });
  x = maxPool(x, three, { strides: [2, 2] });
  const x192 = x; // [B, 192, 35, 35]
  x = fives(x, "Mixed_5b", 32);
  x = fives(x, "Mixed_5c", 64);
  x = fives(x, "Mixed_5d", 64);
  x = halvedTo17(x, "Mixed_6a"); // [B, 768, 17, 17]
  x = sevens(x, "Mixed_6b", 128);
  x = sevens(x, "Mixed_6c", 160);
  x = sevens(x, "Mixed_6d", 160);
  x = sevens(x, "Mixed_6e", 192);
  const x768 = x;
  x = halvedTo8(x, "Mixed_7a"); // [B, 1280, 8, 8]
  x = forked(x, "Mixed_7b", neighbourhoodMean(x));
  x = forked(x, "Mixed_7c", maxPool(x, three, { padding: [1, 1] })); // a maximum only here, as in FID's network
  const features = imageMean(x); // [B, 2048]
  const logits = linear(features, parameter("fc.weight", [logitCount, 2048]));
  return {
    "64": imageMean(x64),
    "192": imageMean(x192),
    "768": imageMean(x768),
    "2048": features,
    logits_unbiased: logits,
    logits: add(logits, parameter("fc.bias", [logitCount])),
  };
}

/** The network's weights by the published file's names, with their shapes. */
export const inceptionParameters = (): { name: string; shape: readonly number[] }[] =>
  topological(Object.values(inceptionGraph())).flatMap((node) => (is(node, "parameter") ? [node.attributes] : []));

/**
 * A convolution, batch normalisation with stored statistics, and ReLU. The normalisation is folded into the convolution's weight
 * and bias. Both depend only on weights, so a session computes them once, when it is opened.
 */
function unit(
  x: Tensor,
  name: string,
  width: number,
  { size = [1, 1], stride = 1, same = false }: { size?: Pair; stride?: number; same?: boolean } = {},
): Tensor {
  const norm = (what: string) => parameter(`${name}.bn.${what}`, [width]);
  const weight = parameter(`${name}.conv.weight`, [width, dim(x, 1) as number, ...size]);
  const scale = div(norm("weight"), sqrt(add(norm("running_var"), 0.001)));
  return relu(
    convolution(x, mul(weight, reshape(scale, [width, 1, 1, 1])), {
      bias: sub(norm("bias"), mul(norm("running_mean"), scale)),
      strides: [stride, stride],
      padding: same ? [(size[0] - 1) / 2, (size[1] - 1) / 2] : [0, 0],
    }),
  );
}

/** A sequence of units that keep height and width, `[name, width, size]` each. */
const chain = (x: Tensor, block: string, units: readonly [name: string, width: number, size?: Pair][]): Tensor =>
  units.reduce((y, [name, width, size]) => unit(y, `${block}.${name}`, width, { size, same: true }), x);

/** The mean of a value and its neighbours; at the edge only of the existing ones, as in TensorFlow. */
const neighbourhoodMean = (x: Tensor): Tensor => averagePool(x, three, { padding: [1, 1] });

/** [B, C, H, W] -> [B, C] */
function imageMean(x: Tensor): Tensor {
  const [images, channels, height, width] = x.shape;
  const flat = reshape(x, [images, channels, (height as number) * (width as number)]);
  return reshape(mean(flat), [images, channels]);
}

function fives(x: Tensor, block: string, pooled: number): Tensor {
  const branches = [
    chain(x, block, [["branch1x1", 64]]),
    chain(x, block, [
      ["branch5x5_1", 48],
      ["branch5x5_2", 64, [5, 5]],
    ]),
    chain(x, block, [
      ["branch3x3dbl_1", 64],
      ["branch3x3dbl_2", 96, three],
      ["branch3x3dbl_3", 96, three],
    ]),
    chain(neighbourhoodMean(x), block, [["branch_pool", pooled]]),
  ];
  return concat(branches, 1);
}

function halvedTo17(x: Tensor, block: string): Tensor {
  const twice = chain(x, block, [
    ["branch3x3dbl_1", 64],
    ["branch3x3dbl_2", 96, three],
  ]);
  const branches = [
    unit(x, `${block}.branch3x3`, 384, { size: three, stride: 2 }),
    unit(twice, `${block}.branch3x3dbl_3`, 96, { size: three, stride: 2 }),
    maxPool(x, three, { strides: [2, 2] }),
  ];
  return concat(branches, 1);
}

function sevens(x: Tensor, block: string, inner: number): Tensor {
  const branches = [
    chain(x, block, [["branch1x1", 192]]),
    chain(x, block, [
      ["branch7x7_1", inner],
      ["branch7x7_2", inner, [1, 7]],
      ["branch7x7_3", 192, [7, 1]],
    ]),
    chain(x, block, [
      ["branch7x7dbl_1", inner],
      ["branch7x7dbl_2", inner, [7, 1]],
      ["branch7x7dbl_3", inner, [1, 7]],
      ["branch7x7dbl_4", inner, [7, 1]],
      ["branch7x7dbl_5", 192, [1, 7]],
    ]),
    chain(neighbourhoodMean(x), block, [["branch_pool", 192]]),
  ];
  return concat(branches, 1);
}

function halvedTo8(x: Tensor, block: string): Tensor {
  const square = chain(x, block, [["branch3x3_1", 192]]);
  const long = chain(x, block, [
    ["branch7x7x3_1", 192],
    ["branch7x7x3_2", 192, [1, 7]],
    ["branch7x7x3_3", 192, [7, 1]],
  ]);
  const branches = [
    unit(square, `${block}.branch3x3_2`, 320, { size: three, stride: 2 }),
    unit(long, `${block}.branch7x7x3_4`, 192, { size: three, stride: 2 }),
    maxPool(x, three, { strides: [2, 2] }),
  ];
  return concat(branches, 1);
}

/** Two of the branches end in a 1x3 and a 3x1 convolution in parallel. */
function forked(x: Tensor, block: string, pooled: Tensor): Tensor {
  const fork = (y: Tensor, name: string) => [
    chain(y, block, [[`${name}a`, 384, [1, 3]]]),
    chain(y, block, [[`${name}b`, 384, [3, 1]]]),
  ];
  const once = chain(x, block, [["branch3x3_1", 384]]);
  const twice = chain(x, block, [
    ["branch3x3dbl_1", 448],
    ["branch3x3dbl_2", 384, three],
  ]);
  const branches = [
    chain(x, block, [["branch1x1", 320]]),
    ...fork(once, "branch3x3_2"),
    ...fork(twice, "branch3x3dbl_3"),
    chain(pooled, block, [["branch_pool", 192]]),
  ];
  return concat(branches, 1);
}

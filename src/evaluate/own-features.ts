/**
 * Features for any kind of images if FID's network is not available: a small convolutional network trained on a data set's own
 * classes. Its numbers are not comparable with published FIDs, and its name says so.
 */

import { z } from "zod";
import { explain } from "../config/model.ts";
import { float32, type HostTensor } from "../core/arrays.ts";
import { type Hint, UserError } from "../core/errors.ts";
import type { Engine } from "../engine/engine.ts";
import { readFolder, type Replacing, replaceFolder, writeFileAtomic } from "../files/atomic.ts";
import { networkWeights } from "../files/inception.ts";
import { configName, readJson, weightsName } from "../files/model.ts";
import { writeSafetensors } from "../files/safetensors.ts";
import {
  cast,
  concat,
  constant,
  div,
  input,
  layerNorm,
  linear,
  mean,
  pad,
  parameter,
  relu,
  reshape,
  slice,
  sub,
  transpose,
} from "../graph/build.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { is, type Tensor, topological } from "../graph/tensor.ts";
import { whole } from "../levels/schema.ts";

const format = "fractalgen own features";
const version = 1;

const schema = z.strictObject({
  format: z.literal(format),
  version: z.literal(version),
  imageSize: whole(1, 4096),
  channels: whole(1, 4),
  /** The classes of its logits: the data's classes, or rotations of an image. */
  classes: z.array(z.string()).min(2),
  task: z.enum(["classes", "rotations"]),
  /** Side of the squares of pixels that the first layer joins. */
  stride: whole(2, 4096).default(2),
  /** Channels after the first layer and after each further halving of the side; the last is the width of the features. */
  widths: z.array(whole(1, 65536)).min(1),
  data: z.strictObject({ name: z.string(), fingerprint: z.string() }),
  /** Fraction of correctly classified held-out images. */
  accuracy: z.number().min(0).max(1),
  steps: whole(1, Number.MAX_SAFE_INTEGER),
  batch: whole(1, Number.MAX_SAFE_INTEGER),
  seed: whole(0, Number.MAX_SAFE_INTEGER),
});

/** The content of the folder's `config.json`. */
export type OwnFeaturesConfig = z.infer<typeof schema>;

/** The classes of a network trained to recognise rotations. */
export const rotations = ["upright", "a quarter turn", "half a turn", "three quarters of a turn"] as const;

/** The part of the configuration that the graph depends on. */
export type OwnFeaturesShape = Pick<OwnFeaturesConfig, "imageSize" | "classes" | "stride" | "widths">;

/** The side at which halving ends, and the largest side with a layer over neighbours. */
const [leastSide, mostMixed] = [4, 32];
const [featureWidth, leastWidth] = [128, 16];

/**
 * The layers for images of a size. The number of channels doubles with each halving, up to the width of the features. The
 * first layer leaves at most 32x32 places: with a stride of 2, images of 256x256 took most of the time for layers that
 * look at a few pixels each.
 */
export function ownLayers(imageSize: number): Pick<OwnFeaturesShape, "stride" | "widths"> {
  const halvings = Math.max(2, Math.ceil(Math.log2(imageSize / leastSide)));
  const layers = Math.min(halvings, 1 + Math.log2(mostMixed / leastSide));
  return {
    stride: 2 ** (1 + halvings - layers),
    widths: Array.from({ length: layers }, (_, i) => Math.max(leastWidth, featureWidth / 2 ** (layers - 1 - i))),
  };
}

/**
 * From bytes `images` [B, S, S, 3] to features [B, D] and logits [B, classes]. Layers are matrix products with one row per place
 * of an image, which run at twice the speed of convolutions and their gradients.
 */
export function ownFeaturesGraph({ imageSize, classes, stride, widths }: OwnFeaturesShape): {
  features: Tensor;
  logits: Tensor;
} {
  const bytes = cast(input("images", "uint8", ["B", imageSize, imageSize, 3]), "float32");
  let x = sub(div(bytes, 127.5), 1);
  widths.forEach((width, i) => {
    x = layer(i === 0 ? joined(x, stride) : joined(normal(x), 2), `${i}.halve`, width);
    if (sidesOf(x).side <= mostMixed) x = layer(neighbours(normal(x)), `${i}.mix`, width);
  });
  const { side, channels } = sidesOf(x);
  const features = reshape(mean(reshape(x, ["B", side * side, channels]), 1), ["B", channels]);
  const weight = parameter("head.weight", [classes.length, channels]);
  return { features, logits: linear(features, weight, parameter("head.bias", [classes.length])) };
}

/** The side and the channels of a tensor [B, S, S, C]. */
function sidesOf({ shape }: Tensor): { side: number; channels: number } {
  const [, side, , channels] = shape as number[];
  return { side, channels };
}

/** A linear layer applied to each place: [B, S, S, E] -> [B, S, S, D]. */
function layer(x: Tensor, name: string, width: number): Tensor {
  const weight = parameter(`${name}.weight`, [width, sidesOf(x).channels]);
  return relu(linear(x, weight, parameter(`${name}.bias`, [width])));
}

/** Normalises each place's channels to mean 0 and variance 1, independently of the batch; the next layer has the scale. */
function normal(x: Tensor): Tensor {
  const { channels } = sidesOf(x);
  const [one, zero] = [1, 0].map((value) => constant(float32(new Float32Array(channels).fill(value), [channels])));
  return layerNorm(x, one, zero, 1e-5);
}

/** Joins n x n places into one: [B, S, S, C] -> [B, S/n, S/n, n n C]. Other sides are padded with zeros. */
function joined(x: Tensor, n: number): Tensor {
  const { side, channels } = sidesOf(x);
  const places = Math.ceil(side / n);
  const padding = places * n - side;
  const whole = [1, 2].reduce((y, axis) => (padding === 0 ? y : pad(y, axis, 0, padding)), x);
  const squares = transpose(reshape(whole, ["B", places, n, places, n, channels]), [0, 1, 3, 2, 4, 5]);
  return reshape(squares, ["B", places, places, n * n * channels]);
}

/** Joins each place with its eight neighbours: [B, S, S, C] -> [B, S, S, 9 C], with zeros outside the image. */
function neighbours(x: Tensor): Tensor {
  const { side } = sidesOf(x);
  return [1, 2].reduce((y, axis) => {
    const padded = pad(y, axis, 1, 1);
    const shifted = [0, 1, 2].map((from) => slice(padded, axis, from, from + side));
    return concat(shifted, -1);
  }, x);
}

/** The names and shapes of the network's float32 weights. */
export const ownParameters = (shape: OwnFeaturesShape): { name: string; shape: readonly number[] }[] =>
  topological([ownFeaturesGraph(shape).logits]).flatMap((node) => (is(node, "parameter") ? [node.attributes] : []));

/** Writes a folder for `openOwnFeatures`, completely or not at all. */
export async function writeOwnFeatures(
  folder: string,
  config: Omit<OwnFeaturesConfig, "format" | "version">,
  values: ReadonlyMap<string, Float32Array>,
  options: Replacing = {},
): Promise<void> {
  const written: OwnFeaturesConfig = { format, version, ...config };
  const tensors = ownParameters(config).map(({ name, shape }): [string, HostTensor] => [
    name,
    float32(values.get(name)!, shape),
  ]);
  await replaceFolder(
    folder,
    async (temporary) => {
      await writeSafetensors(`${temporary}/${weightsName}`, tensors, { metadata: { format: "pt" } });
      await writeFileAtomic(`${temporary}/${configName}`, `${JSON.stringify(written, null, 2)}\n`);
    },
    options,
  );
}

/** A feature network trained on a data set. */
export interface OwnFeatures {
  /** Names the data and the accuracy, such as "own features of mnist (10 classes, 97.1% of held-out images right)". */
  name: string;
  /** D */
  width: number;
  /** Pixels per side and channels of its training data. */
  imageSize: number;
  channels: number;
  classes: readonly string[];
  /** From RGB bytes [B, S, S, 3] (grey repeated three times, alpha blended with white) to features [B, D] and logits [B, classes]. */
  run(images: HostTensor): Promise<{ features: HostTensor<Float32Array>; logits: HostTensor<Float32Array> }>;
  /** Frees its memory and threads. It cannot be used afterwards. */
  dispose(): Promise<void>;
}

/** Opens a network written by `trainFeatures`. UserError if the folder holds none. */
export async function openOwnFeatures(engine: Engine, folder: string): Promise<OwnFeatures> {
  const { config, name, found } = await readFolder(folder, () => {
    const config = readConfig(folder);
    const name = nameOf(config);
    const network = { name, source: ["use another folder", training], parameters: ownParameters(config) };
    return { config, name, found: networkWeights(network, `${folder}/${weightsName}`) };
  });
  const { imageSize, channels, classes, widths } = config;
  const session = await engine.session(writeOnnx(ownFeaturesGraph(config), found), found);
  return {
    name,
    width: widths.at(-1)!,
    imageSize,
    channels,
    classes,
    async run(images) {
      const { dtype, shape } = images;
      if (dtype !== "uint8" || shape.length !== 4 || String(shape.slice(1)) !== String([imageSize, imageSize, 3]))
        throw new UserError({
          subject: name,
          problem: `images are ${dtype} [${shape.join(", ")}]`,
          expected: `uint8 [B, ${imageSize}, ${imageSize}, 3]`,
          hint: `use images of ${imageSize}x${imageSize} pixels, or features trained at their size`,
        });
      const { features, logits } = await session.run({ images });
      return { features, logits } as { features: HostTensor<Float32Array>; logits: HostTensor<Float32Array> };
    },
    dispose: () => session.dispose(),
  };
}

const training: Hint = { do: "train a network", command: "evaluate features" };

function readConfig(folder: string): OwnFeaturesConfig {
  const none = (reason: string) =>
    new UserError({
      problem: `${folder} holds no feature network (${reason})`,
      hint: ["use the folder of one", training],
    });
  const path = `${folder}/${configName}`;
  const parsed = schema.safeParse(readJson(path));
  if (!parsed.success) throw none(`${configName}: ${explain(parsed.error.issues[0], Object.keys(schema.shape))}`);
  return parsed.data;
}

/** Shown next to every number measured with the network. */
function nameOf({ data, task, classes, accuracy }: OwnFeaturesConfig): string {
  const kind = task === "rotations" ? "turns of an image" : "classes";
  const percent = Math.floor(accuracy * 1000) / 10; // never 100 if one was wrong
  return `own features of ${data.name} (${classes.length} ${kind}, ${percent.toFixed(1)}% of held-out images right)`;
}

/** Response bodies for finished images: encoded files with their class, seed and options. Independent of routes. */

import { recordedSampling } from "../config/sampling.ts";
import { encodeImage, type Look, plainLook } from "./encoding.ts";
import type { DrawingOrder } from "./queue.ts";
import type { Asked } from "./requests.ts";
import type { ImagesAnswer, ModelAnswer } from "./schemas.ts";
import type { ServedModel } from "./models.ts";
import { sizeName } from "./sizes.ts";

interface EncodedOptions {
  look?: Look;
  /** Metadata to write into the file of image `index`. */
  text?: (index: number) => Record<string, string>;
}

/** Encodes images [count, S, S, C] as base64 files, one at a time because enlarged images take much memory. */
export async function base64Images(
  images: Uint8Array,
  { model: { config }, labels }: Pick<DrawingOrder, "model" | "labels">,
  { look = plainLook, text = () => ({}) }: EncodedOptions = {},
): Promise<string[]> {
  const { imageSize: side, channels } = config;
  const bytes = side * side * channels;
  const all: string[] = [];
  for (let i = 0; i < labels.length; i++) {
    const image = images.subarray(i * bytes, (i + 1) * bytes);
    const file = await encodeImage(image, { side, channels, look, text: text(i) });
    all.push(Buffer.from(file).toString("base64"));
  }
  return all;
}

export async function imagesAnswer(
  { order, maskRule, look, asUrl }: Asked,
  images: Uint8Array,
  version: string,
): Promise<ImagesAnswer> {
  const { model, labels, seed, settings } = order;
  const classOf = (index: number) => model.config.classes[labels[index]];
  const text = (index: number) => ({
    Software: `fractalgen ${version}`,
    Model: model.name,
    Class: classOf(index),
    Seed: String(seed),
    Index: String(index),
    Options: JSON.stringify({ ...recordedSampling(settings), device: "cpu" }),
  });
  const files = await base64Images(images, order, { look, text });
  return {
    created: Math.floor(Date.now() / 1000),
    model: model.name,
    ...aboutImages(order, look),
    ...(maskRule ? { mask_rule: maskRule } : {}),
    data: files.map((file, index) => ({
      ...(asUrl ? { url: `data:image/${look.format};base64,${file}` } : { b64_json: file }),
      class: classOf(index),
      seed,
      index,
    })),
  };
}

export const aboutImages = ({ model }: Pick<DrawingOrder, "model">, { scale, format }: Look) => ({
  size: sizeName(model.config.imageSize * scale),
  output_format: format,
});

export const modelAnswer = ({ name, config }: ServedModel, created: number): ModelAnswer => ({
  id: name,
  object: "model",
  created,
  owned_by: "fractalgen",
  image_size: config.imageSize,
  channels: config.channels,
  classes: config.classes,
  ...(config.groups ? { groups: config.groups } : {}),
  sampling: config.sampling,
});

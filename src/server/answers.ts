/** Finished images as answers: PNGs with their class, seed and options. Knows no route. */

import { recordedSampling } from "../config/sampling.ts";
import { imagePng } from "../pictures/grid.ts";
import type { Order } from "./queue.ts";
import type { Asked } from "./requests.ts";
import type { ImagesAnswer, ModelAnswer } from "./schemas.ts";
import type { ServedModel } from "./models.ts";

/** Images [count, S, S, C] each as PNG in base64. */
export async function base64Images(
  images: Uint8Array,
  { model: { config }, labels }: Pick<Order, "model" | "labels">,
  text: (index: number) => Record<string, string> = () => ({}),
): Promise<string[]> {
  const { imageSize: size, channels } = config;
  const bytes = size * size * channels;
  return Promise.all(
    labels.map(async (_, i) => {
      const png = await imagePng(images.subarray(i * bytes, (i + 1) * bytes), { size, channels, text: text(i) });
      return Buffer.from(png).toString("base64");
    }),
  );
}

export async function imagesAnswer(
  { order, maskRule }: Asked,
  images: Uint8Array,
  version: string,
): Promise<ImagesAnswer> {
  const { model, labels, seed, settings } = order;
  const classOf = (index: number) => model.config.classes[labels[index]];
  const pngs = await base64Images(images, order, (index) => ({
    Software: `fractalgen ${version}`,
    Model: model.name,
    Class: classOf(index),
    Seed: String(seed),
    Index: String(index),
    Options: JSON.stringify({ ...recordedSampling(settings), device: "cpu" }),
  }));
  return {
    created: Math.floor(Date.now() / 1000),
    model: model.name,
    ...(maskRule ? { mask_rule: maskRule } : {}),
    data: pngs.map((b64_json, index) => ({ b64_json, class: classOf(index), seed, index })),
  };
}

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

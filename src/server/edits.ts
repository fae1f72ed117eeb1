/** An edit's pictures: decoded within bounds, and which pixels are drawn anew. */

import { UserError } from "../core/errors.ts";
import type { Pixels } from "../data/crop.ts";
import { decode, measure, pictureFormat, reasonOf, toChannels } from "../data/picture.ts";
import { drawnMask } from "../sample/edit.ts";
import type { Known } from "../sample/known.ts";
import type { Order } from "./queue.ts";

/** Transparent pixels are drawn anew, as OpenAI has it, or white ones of an opaque mask. */
export type MaskRule = "transparent" | "white";

/** The same picture and mask for every image of the order. */
export async function knownPictures(
  { ring, ...files }: { image: File; mask?: File; ring?: number },
  { model: { config, name: model }, labels }: Order,
): Promise<{ known: Known; rule: MaskRule }> {
  const { imageSize: size, channels } = config;
  const image = await readPicture(files.image, { name: "image", size, model });
  const { mask, rule } = files.mask
    ? maskOf(await readPicture(files.mask, { name: "mask", size, model }))
    : transparency(image);
  if (!mask.includes(1))
    throw new UserError({
      subject: { setting: "mask" },
      ...(rule === "white"
        ? { problem: "it has neither transparent nor white pixels, so there is nothing to redraw" }
        : { expected: "one, or an image with transparent pixels", got: "an opaque image alone" }),
    });
  const { data } = toChannels(image, channels);
  const drawn = drawnMask(config, mask, { ring });
  const known = { images: repeated(data, labels.length), mask: repeated(drawn, labels.length) };
  return { known, rule };
}

function repeated(bytes: Uint8Array, count: number): Uint8Array {
  const all = new Uint8Array(bytes.length * count);
  for (let i = 0; i < count; i++) all.set(bytes, i * bytes.length);
  return all;
}

const isClear = ({ data, channels }: Pixels, pixel: number): boolean =>
  channels % 2 === 0 && data[(pixel + 1) * channels - 1] < 128;

const pixelsOf = ({ width, height }: Pixels, drawn: (pixel: number) => boolean): Uint8Array =>
  Uint8Array.from({ length: width * height }, (_, pixel) => Number(drawn(pixel)));

const transparency = (image: Pixels): { mask: Uint8Array; rule: MaskRule } => ({
  mask: pixelsOf(image, (pixel) => isClear(image, pixel)),
  rule: "transparent",
});

function maskOf(picture: Pixels): { mask: Uint8Array; rule: MaskRule } {
  const clear = transparency(picture);
  if (clear.mask.includes(1)) return clear;
  const grey = toChannels(picture, 1);
  return { mask: pixelsOf(grey, (pixel) => grey.data[pixel] >= 128), rule: "white" };
}

async function readPicture(
  file: File,
  { name, size, model }: { name: string; size: number; model: string },
): Promise<Pixels> {
  const subject = { setting: name };
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!["PNG", "JPEG", "WebP"].includes(pictureFormat(bytes) ?? ""))
    throw new UserError({ subject, problem: "this file is no PNG, JPEG or WebP" });
  const decoding = { most: size * size };
  const refused = (error: unknown) => {
    throw new UserError({ subject, problem: `it ${reasonOf(error)}` });
  };
  // The header alone: a picture that would fill the memory is never decoded.
  const { width, height } = await measure({ bytes }).catch(refused);
  if (width !== size || height !== size)
    throw new UserError({
      subject,
      expected: `${size}x${size} pixels, as the model ${model} draws`,
      got: `${width}x${height}`,
    });
  return decode({ bytes }, decoding).catch(refused);
}

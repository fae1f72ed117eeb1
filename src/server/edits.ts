/** The pictures of an edit: decodes them within limits and finds the pixels to redraw. */

import { joined } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import type { Pixels } from "../data/crop.ts";
import { decode, measurePicture, pictureFormat, reasonOf, toChannels } from "../data/picture.ts";
import { drawnMask } from "../sample/edit.ts";
import type { Known } from "../sample/known.ts";
import type { DrawingOrder } from "./queue.ts";

/** Redraw transparent pixels, as in OpenAI's API, or the white pixels of an opaque mask. */
export type MaskRule = "transparent" | "white";

interface Files {
  pictures: readonly Uint8Array[];
  /** Applies to all pictures. Without it, each picture's own transparent pixels are redrawn. */
  mask?: Uint8Array;
  ring?: number;
}

/** Returns the pixels that the images of an order keep. The images use the pictures in turn. */
export async function knownPictures(
  { pictures, mask: given, ring }: Files,
  { model: { config, name: model }, labels }: DrawingOrder,
): Promise<{ known: Known; rule: MaskRule }> {
  const { imageSize: size, channels } = config;
  const images: Pixels[] = [];
  for (const picture of pictures) images.push(await readPicture(picture, { name: "image", size, model }));
  const own = given && maskOf(await readPicture(given, { name: "mask", size, model }));
  const each = images.map((image) => {
    const { mask, rule } = own ?? transparency(image);
    if (!mask.includes(1)) throw nothingDrawn(rule);
    return { data: toChannels(image, channels).data, drawn: drawnMask(config, mask, { ring }) };
  });
  const inTurn = labels.map((_, i) => each[i % each.length]);
  const known = { images: joined(inTurn.map(({ data }) => data)), mask: joined(inTurn.map(({ drawn }) => drawn)) };
  return { known, rule: own?.rule ?? "transparent" };
}

const nothingDrawn = (rule: MaskRule) =>
  new UserError(
    rule === "white"
      ? {
          subject: { setting: "mask" },
          problem: "it has no transparent or white pixels, so there is nothing to redraw",
        }
      : {
          subject: { setting: "mask" },
          expected: "a mask, or an image with transparent pixels",
          got: "an opaque image without a mask",
        },
  );

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
  bytes: Uint8Array,
  { name, size, model }: { name: string; size: number; model: string },
): Promise<Pixels> {
  const subject = { setting: name };
  if (!["PNG", "JPEG", "WebP"].includes(pictureFormat(bytes) ?? ""))
    throw new UserError({ subject, problem: "this file is not a PNG, JPEG or WebP" });
  const decoding = { most: size * size };
  const refused = (error: unknown) => {
    throw new UserError({ subject, problem: `it ${reasonOf(error)}` });
  };
  // Reads only the header, so that a picture too large for memory is never decoded.
  const { width, height } = await measurePicture({ bytes }).catch(refused);
  if (width !== size || height !== size)
    throw new UserError({
      subject,
      expected: `${size}x${size} pixels, the size of the model ${model}`,
      got: `${width}x${height}`,
    });
  return decode({ bytes }, decoding).catch(refused);
}

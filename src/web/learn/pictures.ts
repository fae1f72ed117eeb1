/** The pictures to learn from: classes that ship with the page, or the visitor's own files. */

import { joined } from "../../core/arrays.ts";
import { UserError } from "../../core/errors.ts";
import { fetched } from "../../files/fetching.ts";
import { readPicture } from "../redrawing.ts";
import clock from "./pictures/clock.png";
import heart from "./pictures/heart.png";
import moonOrStar from "./pictures/moon-or-star.png";
import smilingFace from "./pictures/smiling-face.png";
import { type Lesson, side } from "./protocol.ts";

const bytes = side * side * 3;

interface ShippedClass {
  name: string;
  /** A PNG of pictures one below the other. */
  url: string;
  /** The number of held-out ones, which come last. No emoji is in both parts. */
  heldOut: number;
}

/** The classes that ship with the page. `bench/learn-pictures.ts` makes them. */
export const shippedClasses: readonly ShippedClass[] = [
  { name: "heart", url: heart, heldOut: 11 },
  { name: "smiling face", url: smilingFace, heldOut: 6 },
  { name: "clock", url: clock, heldOut: 12 },
  { name: "moon or star", url: moonOrStar, heldOut: 7 },
];

/** Fetches a class's pictures. Throws a `UserError` if they cannot be fetched. */
export async function shippedLesson({ name, url, heldOut }: ShippedClass): Promise<Lesson> {
  const file = await (await fetched(url, `the pictures of ${name}`)).blob();
  const sheet = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const context = new OffscreenCanvas(sheet.width, sheet.height).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(sheet, 0, 0);
  const { data } = context.getImageData(0, 0, sheet.width, sheet.height);
  const images = new Uint8Array(sheet.width * sheet.height * 3);
  for (let pixel = 0; pixel < images.length / 3; pixel++)
    images.set(data.subarray(pixel * 4, pixel * 4 + 3), pixel * 3);
  return lesson(name, images, heldOut);
}

/** Pictures below this number leave nothing to measure. */
const fewest = 4;
const most = 2000;

/** Reads the visitor's pictures, cropped to squares. Throws a `UserError` if one cannot be read, or for too few or many. */
export async function ownLesson(files: readonly File[]): Promise<Lesson> {
  if (files.length < fewest || files.length > most)
    throw new UserError(`choose between ${fewest} and ${most} pictures, not ${files.length}`);
  const images: Uint8Array[] = [];
  for (const file of files) images.push(await readPicture(file, { size: side, channels: 3 }));
  return lesson("your pictures", joined(images), Math.max(1, Math.round(files.length / 12)));
}

function lesson(name: string, images: Uint8Array, heldOut: number): Lesson {
  const from = images.length - heldOut * bytes;
  return { name, train: images.slice(0, from), heldOut: images.slice(from) };
}

/** The data and the pictures of docs/tutorial.md. Knows nothing about models. */

import { mkdirSync, writeFileSync } from "node:fs";
import { derive, type HostTensor, int32, seedKey, uniform } from "../src/graph/index.ts";
import { gridPng } from "../src/index.ts";

/** Shapes of one colour on white, 16x16 pixels. A channel has one of four values, 0 to 3 for the bytes 0, 85, 170 and 255. */
export const shapes = ["circle", "square", "triangle"];
const colours = [
  [3, 0, 0],
  [0, 2, 0],
  [0, 0, 3],
  [3, 2, 0],
  [2, 0, 2],
  [0, 2, 3],
];
export const parts = 16; // an image has 16 patches, and a patch 16 pixels
export const values = 4;

/** Where the pixel (x, y) of an image lies when its patches, and in each patch its pixels, follow one another. */
const place = (x: number, y: number): number =>
  (Math.floor(y / 4) * 4 + Math.floor(x / 4)) * parts + (y % 4) * 4 + (x % 4);

/** Image `index` of an endless data set: 16 * 16 * 3 values from 0 to 3, in that order, and the shape as a label. */
function example(index: number): { image: Int32Array; label: number } {
  const key = derive(seedKey(1), index);
  const random = (n: number, low: number, high: number) => low + Math.floor(uniform(key, n) * (high - low + 1));
  const [label, radius] = [random(0, 0, 2), random(1, 4, 6)];
  const [cx, cy] = [random(2, radius, 15 - radius), random(3, radius, 15 - radius)];
  const image = new Int32Array(parts * parts * 3).fill(values - 1);
  for (let y = cy - radius; y <= cy + radius; y++)
    for (let x = cx - radius; x <= cx + radius; x++) {
      const inside = [(x - cx) ** 2 + (y - cy) ** 2 <= radius ** 2 + 1, true, 2 * Math.abs(x - cx) <= y - cy + radius];
      if (inside[label]) image.set(colours[random(4, 0, colours.length - 1)], place(x, y) * 3);
    }
  return { image, label };
}

/** The images of a training step, different ones at each step: images [count, 768] and labels [count], both int32. */
export function batchOf(
  step: number,
  count: number,
): { images: HostTensor<Int32Array>; labels: HostTensor<Int32Array> } {
  const chosen = Array.from({ length: count }, (_, i) => example(step * count + i));
  const images = Int32Array.from(chosen.flatMap(({ image }) => [...image]));
  const labels = Int32Array.from(chosen, ({ label }) => label);
  return { images: int32(images, [count, images.length / count]), labels: int32(labels, [count]) };
}

/** Images [.., 768] in the order of patches as bytes [.., 16, 16, 3]. */
function bytes(images: Int32Array): Uint8Array {
  return Uint8Array.from(images, (_, i) => {
    const [image, pixel, channel] = [Math.floor(i / 768), Math.floor((i % 768) / 3), i % 3];
    return 85 * images[image * 768 + place(pixel % 16, Math.floor(pixel / 16)) * 3 + channel];
  });
}

/** Writes pictures of the data, of the drawings, and of the recursion in the last drawing; returns the paths. */
export async function writePictures(
  folder: string,
  drawings: readonly { step: number; images: Int32Array }[],
): Promise<string[]> {
  const data = batchOf(0, 12);
  const names = Array.from(data.labels.data, (label) => shapes[label]);
  const grid = (images: Int32Array, labels: string[]) =>
    gridPng(bytes(images), { count: labels.length, size: 16, channels: 3, columns: 12, scale: 4, labels });
  const drawn = Int32Array.from(drawings.flatMap(({ images }) => [...images]));
  const steps = drawings.flatMap(({ step }) => names.map((_, i) => (i === 0 ? `step ${step}` : shapes[i % 3])));
  const pictures = {
    "data.png": await grid(data.images.data, names),
    "samples.png": await grid(drawn, steps),
    "recursion.svg": recursionSvg(bytes(drawings.at(-1)!.images.subarray(0, 768)), { patch: 6, pixel: 9 }),
  };
  mkdirSync(folder, { recursive: true });
  return Object.entries(pictures).map(([name, content]) => {
    writeFileSync(`${folder}/${name}`, content);
    return `${folder}/${name}`;
  });
}

const cell = 12;

/**
 * An SVG of three panels: a partly drawn image [16, 16, 3], the patch in progress, and in that patch the pixel in progress. `patch`
 * and `pixel` count from 0 in raster order; everything after them is grey.
 */
function recursionSvg(image: Uint8Array, { patch, pixel }: { patch: number; pixel: number }): string {
  const colour = (x: number, y: number) => `rgb(${image.subarray((y * 16 + x) * 3, (y * 16 + x) * 3 + 3).join()})`;
  const corner = { x: (patch % 4) * 4, y: Math.floor(patch / 4) * 4 };
  const inPatch = (n: number): [number, number] => [corner.x + (n % 4), corner.y + Math.floor(n / 4)];
  const parts: string[] = [];
  const square = (x: number, y: number, side: number, fill: string, stroke = "none") =>
    parts.push(`<rect x="${x}" y="${y}" width="${side}" height="${side}" fill="${fill}" stroke="${stroke}"/>`);
  const text = (x: number, y: number, words: string) => parts.push(`<text x="${x}" y="${y}">${words}</text>`);

  const waiting = "#ccc"; // not drawn yet
  text(0, 14, "the image, 16 patches");
  for (let y = 0; y < 16; y++)
    for (let x = 0; x < 16; x++) {
      const [inImage, within] = [Math.floor(y / 4) * 4 + Math.floor(x / 4), (y % 4) * 4 + (x % 4)];
      const drawn = inImage < patch || (inImage === patch && within < pixel);
      square(x * cell, 24 + y * cell, cell, drawn ? colour(x, y) : waiting);
    }
  for (let at = 0; at < 16; at++)
    square((at % 4) * 4 * cell, 24 + Math.floor(at / 4) * 4 * cell, 4 * cell, "none", "#888");
  square(corner.x * cell, 24 + corner.y * cell, 4 * cell, "none", "#d33");

  const [left, side] = [260, 36];
  text(left, 14, `patch ${patch + 1}, 16 pixels`);
  const placed = (at: number): [number, number] => [left + (at % 4) * side, 24 + Math.floor(at / 4) * side];
  for (let at = 0; at < 16; at++) square(...placed(at), side, at < pixel ? colour(...inPatch(at)) : waiting, "#888");
  square(...placed(pixel), side, "none", "#d33");

  const [right, step] = [470, 48];
  const [px, py] = inPatch(pixel);
  text(right, 14, `pixel ${pixel + 1}, 3 channels`);
  ["red", "green", "blue"].forEach((name, channel) => {
    const value = image[(py * 16 + px) * 3 + channel];
    square(right, 24 + channel * step, 36, `rgb(${[0, 1, 2].map((c) => (c === channel ? value : 0)).join()})`, "#888");
    text(right + 46, 47 + channel * step, `${name} ${value}`);
  });

  const lines = [
    [(corner.x + 4) * cell, 24 + corner.y * cell, left, 24],
    [(corner.x + 4) * cell, 24 + (corner.y + 4) * cell, left, 24 + 4 * side],
    [left + ((pixel % 4) + 1) * side, 24 + Math.floor(pixel / 4) * side, right, 24],
    [left + ((pixel % 4) + 1) * side, 24 + (Math.floor(pixel / 4) + 1) * side, right, 24 + 2 * step + 36],
  ];
  for (const [x1, y1, x2, y2] of lines) parts.push(`<path d="M${x1} ${y1}L${x2} ${y2}" stroke="#d33"/>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 604 224" font-family="system-ui, sans-serif" font-size="13" fill="#777">
<title>An image, one of its patches and one of that patch's pixels, each while it is drawn</title>
${parts.join("\n")}
</svg>
`;
}

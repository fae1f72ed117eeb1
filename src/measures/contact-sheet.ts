/** A contact sheet: a picture that shows what a data set contains. */

import { groupedClasses } from "../config/classes.ts";
import { UserError } from "../core/errors.ts";
import type { Dataset } from "../data/dataset.ts";
import { gridLayout, gridPng } from "../pictures/grid.ts";

/** The largest sheet in pixels; any viewer can open this size. */
const sheetMost = 64e6;

/** Draws a row of evenly spaced images for each class, with the class name under the first and the images' own names under the others. Returns a PNG. */
export async function contactSheet(dataset: Dataset, perClass: number): Promise<Uint8Array> {
  const { classes, groups, size, channels } = dataset;
  const all = [dataset.train, dataset.heldOut].flatMap((split) =>
    Array.from(split.labels, (label, index) => ({ split, label, index })),
  );
  const order = groupedClasses({ classes, groups }).flatMap(({ labels }) => labels);
  const byClass = new Map(order.map((label) => [label, [] as typeof all]));
  for (const one of all) byClass.get(one.label)!.push(one);
  const columns = Math.min(perClass, Math.max(...[...byClass.values()].map(({ length }) => length)));
  const count = columns * order.length;
  const { width, height } = gridLayout({ count, size, columns, labels: Array.from({ length: count }, () => "") });
  if (width * height > sheetMost)
    throw new UserError({
      subject: { setting: "perClass" },
      problem: `a sheet of ${order.length} classes with ${columns} images each would have ${width}x${height} pixels, but the limit is ${sheetMost / 1e6} million`,
      hint: ["choose fewer images", { do: "make them smaller", setting: "imageSize" }],
    });
  const bytes = size * size * channels;
  const images = new Uint8Array(count * bytes).fill(255);
  const labels = Array.from({ length: count }, () => "");
  order.forEach((label, row) => {
    const own = byClass.get(label)!;
    const shown = Math.min(columns, own.length);
    for (let column = 0; column < shown; column++) {
      const { split, index } = own[Math.floor((column * own.length) / shown)];
      images.set(split.image(index), (row * columns + column) * bytes);
      labels[row * columns + column] = column === 0 ? classes[label] : split.names[index];
    }
  });
  return gridPng(images, { count, size, channels, columns, labels });
}

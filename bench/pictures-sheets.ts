/** Pictures that no single command makes: rows with titles below each other, edits, and contact sheets of data. */

import { join } from "node:path";
import sharp from "sharp";
import { run } from "../src/cli/program.ts";
import { parseClasses } from "../src/config/classes.ts";
import type { ModelConfig } from "../src/config/model.ts";
import { derive, permutation, seedKey } from "../src/core/random.ts";
import { UserError } from "../src/core/errors.ts";
import type { Dataset } from "../src/data/dataset.ts";
import { writeFileAtomic } from "../src/files/atomic.ts";
import { drawText, glyphHeight, textWidth } from "../src/pictures/font.ts";
import { gridPng, imagePng } from "../src/pictures/grid.ts";
import { drawnMask } from "../src/sample/edit.ts";
import { taskMask } from "../src/sample/masks.ts";

/** A command has failed or was interrupted, and has printed why. */
export class Ended extends Error {}

/** Runs a command of fractalgen in this process. Throws `Ended` if it does not succeed. */
export async function fractalgen(...args: string[]): Promise<void> {
  const code = await run(args);
  if (code !== 0) process.exitCode = code;
  if (process.exitCode) throw new Ended(`fractalgen ${args.join(" ")}`);
}

/** As many class names as `count`, in the order of the classes, each class as often as every other (or once more). */
export const evenShares = (classes: readonly string[], count: number): string[] =>
  Array.from({ length: count }, (_, i) => classes[Math.floor((i * classes.length) / count)]);

/**
 * A grid of training images, one for each name: a class of the data or a group of classes. Which ones is decided by a
 * fixed random order. Returns a PNG of the size that a grid of generated images of these classes has. Throws a UserError
 * if the data have no such class.
 */
export function dataSheet(
  { train, classes, groups, size, channels, name }: Dataset,
  { names, columns }: { names: readonly string[]; columns: number },
): Promise<Uint8Array> {
  const bytes = size * size * channels;
  const images = new Uint8Array(names.length * bytes);
  const used = new Map<string, number>();
  const orders = new Map<string, number[]>();
  names.forEach((wanted, i) => {
    if (!orders.has(wanted)) {
      const labels = new Set(parseClasses(wanted, { classes, groups }).flat());
      const own = [...train.labels.keys()].filter((index) => labels.has(train.labels[index]));
      if (own.length === 0) throw new UserError(`${name} has no training images of ${wanted}`);
      const order = permutation(derive(seedKey(1), orders.size), own.length);
      orders.set(wanted, Array.from(order, (place) => own[place])); // prettier-ignore
    }
    const [order, nth] = [orders.get(wanted)!, used.get(wanted) ?? 0];
    used.set(wanted, nth + 1);
    images.set(train.image(order[nth % order.length]), i * bytes);
  });
  return gridPng(images, { count: names.length, size, channels, labels: names, columns, text: { Data: name } });
}

const titleScale = 2;

/** Places pictures below each other, each with its title on the left. Returns a PNG. */
export async function stacked(rows: readonly { title: string; file: string }[]): Promise<Uint8Array> {
  const pictures = await Promise.all(
    rows.map(async ({ title, file }) => {
      const { data, info } = await sharp(file).removeAlpha().toBuffer({ resolveWithObject: true });
      return { title, data, width: info.width, height: info.height };
    }),
  );
  const margin = 2 * 6 + titleScale * Math.max(...pictures.map(({ title }) => textWidth(title)));
  const width = margin + Math.max(...pictures.map((one) => one.width));
  const height = pictures.reduce((sum, one) => sum + one.height, 0);
  const page = Buffer.alloc(width * height * 3, 255);
  const tops: number[] = [];
  let top = 0;
  for (const { title, height: rowHeight } of pictures) {
    tops.push(top);
    const middle = top + Math.floor((rowHeight - titleScale * glyphHeight) / 2);
    drawText(title, (x, y) => {
      for (let row = 0; row < titleScale; row++) {
        const at = ((middle + y * titleScale + row) * width + 6 + x * titleScale) * 3;
        page.fill(51, at, at + titleScale * 3);
      }
    });
    top += rowHeight;
  }
  return sharp(page, { raw: { width, height, channels: 3 } })
    .composite(pictures.map(({ data }, i) => ({ input: data, left: margin, top: tops[i] })))
    .png()
    .toBuffer();
}

/** The four edits of the README. Images are named as in the data; the first held-out image of `of` replaces missing ones. */
const edits = [
  { task: "inpaint", image: "fluent-emoji/1f630", of: "face", as: "face" },
  { task: "outpaint", image: "flags/1f1e8-1f1fa", of: "flag", as: "flag" },
  { task: "uncrop", image: "fluent-emoji/1fa77", of: "heart", as: "heart" },
  { task: "class", image: "fluent-emoji/1f928", of: "face", as: "heart,flag,clock,food" },
] as const;

/**
 * Edits four held-out emoji, four variants each. Models that cannot continue from a task's mask extend an upper half
 * instead. Returns a PNG.
 */
export async function editingPicture(
  { heldOut, classes, groups, size, channels }: Dataset,
  { model, config, scratch }: { model: string; config: ModelConfig; scratch: string },
): Promise<Uint8Array> {
  const rows: { title: string; file: string }[] = [];
  for (const [row, { task, image, of, as }] of edits.entries()) {
    const labels = new Set(parseClasses(of, { classes, groups }).flat());
    const named = heldOut.names.indexOf(image);
    const index = named >= 0 ? named : heldOut.labels.findIndex((label) => labels.has(label));
    const original = join(scratch, `original-${row}.png`);
    await writeFileAtomic(original, await imagePng(heldOut.image(index), { size, channels }));
    const given = follows(config, task) ? task : "outpaint";
    const eighth = Math.floor(size / 8);
    const mask = given === "class" ? ["--mask", `${eighth},${eighth},${6 * eighth},${6 * eighth}`] : [];
    const file = join(scratch, `edit-${row}.png`);
    const what = ["--model", model, "--image", original, "--task", given, ...mask, "--class", as];
    await fractalgen("edit", ...what, "-n", "4", "--seed", "1", "--out", file);
    rows.push({ title: given, file });
  }
  return stacked(rows);
}

/** Whether the model can redraw the usual mask of a task. */
function follows(config: ModelConfig, task: (typeof edits)[number]["task"]): boolean {
  try {
    drawnMask(config, taskMask(config.imageSize, task));
    return true;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return false;
  }
}

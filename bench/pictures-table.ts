/** The pictures of README.md, docs/ and the model cards: one row each, with what it shows and how it is made. */

import { existsSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { basename, join, parse, resolve } from "node:path";
import { findModel } from "../src/cli/models.ts";
import { placedLevels } from "../src/config/model.ts";
import { didYouMean, UserError } from "../src/core/errors.ts";
import type { Dataset } from "../src/data/dataset.ts";
import { openDataset } from "../src/data/open.ts";
import { writeFileAtomic } from "../src/files/atomic.ts";
import { kindOf } from "../src/levels/table.ts";
import { dataSheet, editingPicture, evenShares, fractalgen, stacked } from "./pictures-sheets.ts";
import { studioPicture } from "./pictures-studio.ts";

export interface PictureContext {
  /** The path to write. */
  out: string;
  /** A temporary folder. */
  scratch: string;
  /** The data of the picture's model, if known. */
  data?: string;
  /** The folder for decoded data sets. */
  cache: string;
}

export interface PictureRow {
  /** The file's name in docs/. */
  file: string;
  /** A folder, or the name of a shipped model. */
  model: string;
  shows: string;
  /** Writes the picture, or returns the reason why it cannot be made here. */
  make(context: PictureContext): Promise<string | undefined>;
}

/** Pictures that documents show, but that do not come from the shipped models. */
export const otherPictures: Record<string, string> = {
  "docs/tutorial/": "node --import tsx examples/tutorial.ts docs/tutorial",
  "docs/results/": "the training runs described in docs/results.md",
};

/** The name by which a picture is asked for, and that of its model. */
export const nameOf = ({ file }: PictureRow): string => parse(file).name;
export const modelOf = ({ model }: PictureRow): string => basename(resolve(model));

/** The rows with these names, or of models with these names; all rows if there are no names. */
export function chosen(rows: readonly PictureRow[], names: readonly string[]): PictureRow[] {
  for (const name of names)
    if (!rows.some((row) => [nameOf(row), modelOf(row)].includes(name)))
      throw new UserError(
        `there is no picture "${name}"${didYouMean(name, rows.map(nameOf)) || `; there are ${rows.map(nameOf).join(", ")}`}`,
      );
  return rows.filter((row) => names.length === 0 || names.includes(nameOf(row)) || names.includes(modelOf(row)));
}

/** The data of shipped models that need no path. */
export const usualData = (model: string): string | undefined =>
  basename(model).startsWith("emoji") ? "emoji" : undefined;

/** All pictures of these models. Those of README need the model `emoji`. */
export const pictureRows = (models: readonly string[]): PictureRow[] => [
  ...(models.includes("emoji") ? readmeRows : []),
  ...models.flatMap(modelRows),
];

const four = ["--model", "emoji", "--class", "face,heart,gesturing person,clock"];
const model = "emoji";

const readmeRows: PictureRow[] = [
  {
    file: "samples.png",
    model,
    shows: "sixteen emoji of four classes, as npm start draws them",
    make: ({ out }) => done(fractalgen("sample", ...four, "--out", out)),
  },
  {
    file: "fractal.webp",
    model,
    shows: "an animation of four emoji being drawn",
    make: ({ out, scratch }) =>
      done(fractalgen("sample", ...four, "-n", "4", "--columns", "4", "--seed", "1", "--animate", out, "--out", join(scratch, "grid.png"))), // prettier-ignore
  },
  {
    file: "editing.png",
    model,
    shows: "four held-out emoji, each with four variants of a redrawn part",
    async make({ out, scratch, cache }) {
      const { config } = await findModel(model);
      const dataset = await openDataset("emoji", { cache, imageSize: config.imageSize });
      await writeFileAtomic(out, await editingPicture(dataset, { model, config, scratch }));
      return undefined;
    },
  },
  {
    file: "iterations.png",
    model,
    shows: "twelve emoji with an eighth, a quarter, half and all of the first level's steps",
    async make({ out, scratch }) {
      const levels = placedLevels((await findModel(model)).config);
      const { hides, words } = kindOf(levels[0]).order;
      if (!hides) return `${model} draws its patches in ${words}`;
      const rows: { title: string; file: string }[] = [];
      for (const [row, parts] of [8, 4, 2, 1].entries()) {
        const steps = levels.map((level, l) =>
          kindOf(level).order.steps(level.tokens, Math.ceil(level.tokens / (l === 0 ? parts : Math.max(1, parts / 2)))),
        );
        const [title, file] = [steps.join(), join(scratch, `iterations-${row}.png`)];
        await fractalgen("sample", ...four, "-n", "12", "--columns", "12", "--seed", "1", "--iterations", title, "--out", file); // prettier-ignore
        rows.push({ title, file });
      }
      await writeFileAtomic(out, await stacked(rows));
      return undefined;
    },
  },
  {
    file: "studio.png",
    model,
    shows: "the studio in the middle of a drawing",
    make: async ({ out }) => studioPicture(await findModel(model), out),
  },
];

/** Images in a model's grid, and in the sheet of its data. */
const [count, columns] = [100, 10];

function modelRows(model: string): PictureRow[] {
  const name = basename(resolve(model));
  const isEmoji = name === "emoji";
  const withData =
    (make: (context: PictureContext & { data: string }) => Promise<void>): PictureRow["make"] =>
    async ({ data, ...context }) => {
      if (data === undefined) return `its data are not known; add --data ${name}=PATH`;
      return done(make({ ...context, data }));
    };
  const likelihood = ["evaluate", "likelihood", "--model", model, "--order"];
  return [
    {
      file: `${name}-grid.png`,
      model,
      shows: "100 uncurated images of seed 1, every class equally often",
      async make({ out }) {
        const names = evenShares((await findModel(model)).config.classes, count).join();
        const images = ["-n", String(count), "--columns", String(columns), "--seed", "1"];
        return done(fractalgen("sample", "--model", model, "--class", names, ...images, "--out", out));
      },
    },
    {
      file: `${name}-data.png`,
      model,
      shows: "as many training images of the same classes, chosen at random",
      make: withData(async ({ out, data, cache }) => {
        const { config } = await findModel(model);
        const { imageSize, channels, classes } = config;
        const dataset: Dataset = await openDataset(data, { cache, imageSize, ...(data !== "emoji" && { channels }) });
        // Of classes that the data only number, the model knows the names.
        const numbered = dataset.classes.every((one, label) => one === String(label));
        const named = numbered ? { ...dataset, classes } : dataset;
        await writeFileAtomic(out, await dataSheet(named, { names: evenShares(classes, count), columns }));
      }),
    },
    {
      file: isEmoji ? "bits.png" : `${name}-bits.png`,
      model,
      shows: "eight held-out images, each next to its bits per pixel",
      make: withData(({ out, data, cache }) =>
        fractalgen(...likelihood, "--data", data, "--cache", cache, "--images", "8", "--map", out),
      ),
    },
    {
      file: `likelihood-${name}.svg`,
      model,
      shows: "calibration, bits by channel, and bits by the known share of a square, of all held-out images",
      make: withData(({ out, data, cache }) =>
        fractalgen(...likelihood, "--data", data, "--cache", cache, "--chart", out),
      ),
    },
    {
      file: isEmoji ? "curve.svg" : `${name}-curve.svg`,
      model,
      shows: "the learning curve of the model's training run, which is shipped with it",
      async make({ out }) {
        const curve = join((await findModel(model)).folder, "curve.svg");
        if (!existsSync(curve)) return `there is no ${name}/curve.svg; copy it from the model's training run`;
        return done(copyFile(curve, out));
      },
    },
  ];
}

const done = async (making: Promise<void>): Promise<undefined> => void (await making);

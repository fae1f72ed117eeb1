/** The options of commands that generate images. */

import type { Command } from "commander";
import type { Provider } from "../engine/engine.ts";
import type { Precision } from "../graph/form.ts";
import { deviceOption, helpOption, precisionOption, threadsOption } from "./engine.ts";
import { bytes, filled, whole } from "./values.ts";

export interface DrawingFlags {
  count: number;
  seed: number;
  out: string;
  columns?: number;
  animate?: string;
  each?: string;
  json?: boolean;
  batch?: number;
  memory?: number;
  preview: boolean;
  device: Provider;
  precision: Precision;
  threads?: number;
  queue?: string;
  shared?: string;
}

/** Adds the options for output and performance. */
export const addDrawingOptions = (command: Command, { out, columns }: { out: string; columns: string }): Command =>
  command
    .optionsGroup("Output:")
    .option("--out <file>", "write the grid to this PNG, with model, seed and options in its text chunks", filled, out)
    .option("--columns <n>", `columns of the grid (default: ${columns})`, whole({ least: 1, most: 1000 }))
    .option("--animate <file>", "write an animation of the generation, .webp or .gif", filled)
    .option("--each <dir>", "also write each image to its own PNG file in this folder", filled)
    .option("--json", "print one line of JSON and no progress")
    .optionsGroup("Performance:")
    .option(
      "--batch <n>",
      "images per batch; does not affect the images (default: 16, or as many as fit in a GPU)",
      whole({ least: 1, most: 4096 }),
    )
    .option(
      "--memory <size>",
      "limit for the memory of the machine or the GPU, such as 3GB (default: what is free)",
      bytes,
    )
    .option("--no-preview", "show no preview on the terminal")
    .addOption(deviceOption())
    .addOption(precisionOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption());

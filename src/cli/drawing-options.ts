/** The options of commands that draw images. */

import type { Command } from "commander";
import type { Provider } from "../engine/engine.ts";
import { deviceOption, helpOption, threadsOption } from "./engine.ts";
import { bytes, filled, whole } from "./values.ts";

export interface DrawingFlags {
  count: number;
  seed: number;
  out: string;
  columns?: number;
  animate?: string;
  each?: string;
  json?: boolean;
  batch: number;
  memory?: number;
  preview: boolean;
  device: Provider;
  threads?: number;
}

/** What is written and how it runs. */
export const addDrawingOptions = (command: Command, { out, columns }: { out: string; columns: string }): Command =>
  command
    .optionsGroup("What is written:")
    .option("--out <file>", "the grid, a PNG with model, seed and options in its text chunks", filled, out)
    .option("--columns <n>", `columns of the grid (default: ${columns})`, whole({ least: 1, most: 1000 }))
    .option("--animate <file>", "an animation of how the fractal fills in, .webp or .gif", filled)
    .option("--each <dir>", "also every image on its own, as PNG", filled)
    .option("--json", "print one line of JSON, no progress")
    .optionsGroup("How it runs:")
    .option("--batch <n>", "images made side by side; they do not depend on it", whole({ least: 1, most: 4096 }), 16)
    .option("--memory <size>", "most memory to take, such as 3GB (default: what is free)", bytes)
    .option("--no-preview", "no preview on the terminal")
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption());

/** The options of the generated images of a measure: where they are, or what a model draws and how. */

import type { Command } from "commander";
import { addSamplingOptions } from "./sampling-options.ts";
import { bytes, filled, seeds, whole } from "./values.ts";

export const addGenerated = (command: Command): Command =>
  command
    .requiredOption("--generated <path|model>", "a folder or file of images, or a model to draw them", filled)
    .option(
      "--image-size <n>",
      "pixels per side of images in files (default: their own)",
      whole({ least: 1, most: 4096 }),
    )
    .option("--channels <n>", "of images in files and of the data (default: their own)", whole({ least: 1, most: 4 }));

/** What a model draws, and how. */
export const addDrawing = (command: Command, { count }: { count: number }): Command =>
  addSamplingOptions(
    command
      .optionsGroup("What a model draws (default: as the model says):")
      .option("-n, --count <n>", "how many images, of classes as often as in the data", whole({ least: 2 }), count)
      .option("--seed <n>", "of all that is random", seeds, 0),
  )
    .option("--each <dir>", "keep the images, as PNG; an interrupted run goes on from there", filled)
    .option("--batch <n>", "images at once; no result depends on it", whole({ least: 1, most: 4096 }), 32)
    .option("--memory <size>", "most memory for drawing, such as 3GB (default: what is free)", bytes);

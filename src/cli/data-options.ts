/** The options that decide which images of a data set are held out, and where decoded data are kept. */

import type { Command } from "commander";
import type { ModelConfig } from "../config/model.ts";
import type { Dataset } from "../data/dataset.ts";
import { openDataset } from "../data/open.ts";
import { defaultCache } from "./cache.ts";
import type { Progress } from "./progress.ts";
import { filled } from "./values.ts";

export interface DataFlags {
  heldOut?: string;
  group?: string;
  cache: string;
}

export const addDataOptions = (command: Command): Command =>
  command
    .option("--held-out <x|path>", "as in training: a share such as 0.05, or other data", filled)
    .option("--group <regex>", "as in training", filled)
    .option("--cache <dir>", "where decoded data sets are kept", filled, defaultCache());

/** A data set as a model takes its images. */
export const openFor = (
  { imageSize, channels }: Pick<ModelConfig, "imageSize"> & { channels?: number },
  { data, ...flags }: DataFlags & { data: string },
  { progress, signal }: { progress: Progress; signal: AbortSignal },
): Promise<Dataset> =>
  openDataset(data, {
    ...flags,
    imageSize,
    channels: data === "emoji" ? undefined : channels,
    signal,
    onProgress: (at, total) => progress.update(`decoding: ${at} of ${total}`),
  });

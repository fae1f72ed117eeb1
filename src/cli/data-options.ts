/** The options that decide which images of a data set are held out, and where decoded data are cached. */

import { type Command, Option } from "commander";
import type { ModelConfig } from "../config/model.ts";
import type { Dataset } from "../data/dataset.ts";
import { defaultSets, emojiSets, type EmojiSet, parseSets, setsWithLicences } from "../data/emoji-sets.ts";
import { openDataset } from "../data/open.ts";
import { defaultCache } from "../files/cache.ts";
import type { Progress } from "./progress.ts";
import { filled } from "./values.ts";

export interface DataFlags {
  heldOut?: string;
  group?: string;
  sets?: readonly EmojiSet[];
  skipSmall?: boolean;
  classNames?: readonly string[];
  cache: string;
}

export const addDataOptions = (command: Command): Command =>
  command
    .option("--held-out <x|path>", "as in training: a fraction such as 0.05, or other data", filled)
    .option("--group <regex>", "as in training", filled)
    .option("--skip-small", "as in training")
    .addOption(classNamesOption())
    .addOption(setsOption())
    .option("--cache <dir>", "where decoded data sets are cached", filled, defaultCache());

export const setsOption = (): Option =>
  new Option(
    "--sets <names>",
    `the vendors to include in emoji, comma-separated: ${setsWithLicences()} (default: all but ${emojiSets.filter((set) => !defaultSets.includes(set)).join(" and ")}, whose licences are share-alike)`,
  ).argParser((text) => parseSets(text));

export const classNamesOption = (): Option =>
  new Option(
    "--class-names <names>",
    'names for classes that the data only number, in that order, comma-separated: "T-shirt/top,Trouser,Pullover"',
  ).argParser((text) => text.split(",").map((name) => name.trim()));

/** Opens a data set in the size and channels of a model. */
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

/** What `fractalgen inspect` prints: a table of levels, or the record of --json. */

import type { ModelConfig } from "../config/model.ts";
import { recordedSampling, type SamplingName, samplingSetting } from "../config/sampling.ts";
import { writeSetting } from "../config/setting.ts";
import { byteCount } from "../core/byte-count.ts";
import { counted } from "../core/counted.ts";
import { kebabCase } from "../core/names.ts";
import type { HalfType } from "../graph/onnx.ts";
import { type Count, type LevelComplexity, total } from "../model/complexity.ts";
import { aligned } from "./columns.ts";

export interface Inspected {
  config: ModelConfig;
  /** Undefined for a preset, which has no weights. */
  folder?: string;
  /** The size of the weights' file; for a preset, the size that it would have. */
  bytes: number;
  levels: LevelComplexity[];
  packed?: HalfType; // the type of float32 weights that are stored in half precision
}

/** A model's sampling settings; without `iterations`, there is one per patch. */
const samplingOf = ({ sampling }: ModelConfig, levels: readonly LevelComplexity[]) => ({
  ...sampling,
  iterations: sampling.iterations ?? levels.slice(0, -1).map(({ sequence }) => sequence),
});

export function inspectedRecord(name: string, { config, folder, bytes, levels, packed }: Inspected) {
  const { imageSize, channels, classes, dtype = "float32" } = config;
  return {
    name: config.name ?? name,
    folder,
    imageSize,
    channels,
    classes: classes.length,
    dtype,
    packed,
    bytes,
    parameters: total(levels, "parameters"),
    operations: total(levels, "operations"),
    likelihoodOperations: total(levels, "likelihoodOperations"),
    levels,
    sampling: samplingOf(config, levels),
  };
}

export function inspectedLines(name: string, { config, folder, bytes, levels, packed }: Inspected): string[] {
  const { imageSize, channels, classes, dtype = "float32" } = config;
  const sampling = Object.entries(recordedSampling(samplingOf(config, levels))).map(
    ([name, value]) =>
      `${kebabCase(name).replaceAll("-", " ")} ${writeSetting(samplingSetting(name as SamplingName), value)}`,
  );
  const where = folder === undefined ? "would be" : "are";
  const rows = levels.map((level, l) => [
    String(l + 1),
    level.kind,
    String(level.squares),
    String(level.sequence),
    String(level.layers),
    String(level.width),
    String(level.heads ?? ""),
    ...counts((key) => level[key]),
  ]);
  const facts = [
    ["model", `${config.name ?? name}${folder === undefined ? " (a preset, without weights)" : ` in ${folder}`}`],
    ["images", `${imageSize}x${imageSize}, ${counted(channels, "channel")}, ${counted(classes.length, "class")}`],
    ["parameters", millions(total(levels, "parameters"))],
    ["weights", `${where} ${byteCount(bytes)} on disk, ${dtype}${packed ? ` stored as ${packed}` : ""}`],
    ["sampling", sampling.join(", ")],
  ];
  return [
    ...aligned(facts, { left: 2 }),
    "",
    ...aligned([headings, ...rows, ["all", "", "", "", "", "", "", ...counts((key) => total(levels, key))]], {
      left: 2,
    }),
    "",
    ...footnote,
  ];
}

const headings = [
  "level",
  "kind",
  "squares",
  "sequence",
  "layers",
  "width",
  "heads",
  "parameters",
  "in blocks",
  "GFLOPs",
  "likelihood",
];

/** The columns that can be summed. */
const counts = (of: (key: Count) => number): string[] => [
  millions(of("parameters")),
  millions(of("blockParameters")),
  billions(of("operations")),
  billions(of("likelihoodOperations")),
];

const footnote = [
  "squares: how many a level generates per image (pixels at the last level); sequence: patches or channels in each.",
  "GFLOPs: a multiply-add counts as 2; all matrix products of one pass over all squares of one image, counted as in the",
  "paper's complexity table: blocks over the sequence only, its embedding and the embedding of one condition.",
  "likelihood: the same for everything that the likelihood computes, including all conditions, guiding pixels and logits.",
  "in blocks: parameters of the transformer blocks only, as the paper's table counts them above the pixel level.",
];

const millions = (count: number): string => `${rounded(count / 1e6)}M`;
const billions = (count: number): string => rounded(count / 1e9);
/** Three significant digits, two for values below one, and no fraction from 100 up. */
const rounded = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(value < 1 ? 2 : 3));

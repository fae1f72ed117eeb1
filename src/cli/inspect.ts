/** `fractalgen inspect`: what a model is made of, level by level, and what it computes for one image. */

import { existsSync, statSync } from "node:fs";
import { type Command } from "commander";
import type { ModelConfig } from "../config/model.ts";
import { isPublished, publishedNames, publishedPreset } from "../config/published.ts";
import { byteCount } from "../core/byte-count.ts";
import { complexity, type LevelComplexity } from "../model/complexity.ts";
import { helpOption } from "./engine.ts";
import { findModel } from "./models.ts";
import { filled } from "./values.ts";

export function addInspect(program: Command): void {
  program
    .command("inspect")
    .summary("a model's parameters, levels and operations")
    .description(
      "Show a model's parameters, its levels with their operations for one image, and its sampling defaults. The weights of a folder are checked by name and shape.",
    )
    .argument("<preset|dir>", `a model folder, or one of ${publishedNames.join(", ")}`, filled)
    .option("--json", "print one line of JSON")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen inspect fractalmar_large_in256\n  fractalgen inspect runs/photos --json",
    )
    .action(inspect);
}

interface Inspected {
  config: ModelConfig;
  /** Of a preset none, for it has no weights. */
  folder?: string;
  /** The size of the weights' file, or what it would be. */
  bytes: number;
  levels: LevelComplexity[];
}

async function inspect(name: string, { json }: { json?: boolean }): Promise<void> {
  const inspected = await inspectedOf(name);
  console.log(json ? JSON.stringify(record(name, inspected)) : lines(name, inspected).join("\n"));
}

/** A folder goes before a preset of the same name, as in `fractalgen sample`. */
async function inspectedOf(name: string): Promise<Inspected> {
  if (isPublished(name) && !existsSync(name)) {
    const config = publishedPreset(name);
    const levels = complexity(config);
    return { config, levels, bytes: 4 * total(levels, "parameters") };
  }
  const { config, folder, weights } = await findModel(name, { option: "<preset|dir>", checked: false });
  return { config, folder, levels: complexity(config), bytes: statSync(weights.path).size };
}

type Count = "parameters" | "blockParameters" | "operations" | "likelihoodOperations";
const total = (levels: readonly LevelComplexity[], key: Count): number =>
  levels.reduce((sum, level) => sum + level[key], 0);

/** A model says how it is sampled; where it leaves out the iterations, there are as many as patches. */
const samplingOf = ({ sampling }: ModelConfig, levels: readonly LevelComplexity[]) => ({
  ...sampling,
  iterations: sampling.iterations ?? levels.slice(0, -1).map(({ sequence }) => sequence),
});

function record(name: string, { config, folder, bytes, levels }: Inspected) {
  const { imageSize, channels, classes, dtype = "float32" } = config;
  return {
    name: config.name ?? name,
    folder,
    imageSize,
    channels,
    classes: classes.length,
    dtype,
    bytes,
    parameters: total(levels, "parameters"),
    operations: total(levels, "operations"),
    likelihoodOperations: total(levels, "likelihoodOperations"),
    levels,
    sampling: samplingOf(config, levels),
  };
}

function lines(name: string, { config, folder, bytes, levels }: Inspected): string[] {
  const { imageSize, channels, classes, dtype = "float32" } = config;
  const { guidance, schedule, temperature, filterThreshold, iterations } = samplingOf(config, levels);
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
    [
      "images",
      `${imageSize}x${imageSize}, ${channels} ${channels === 1 ? "channel" : "channels"}, ${classes.length} ${classes.length === 1 ? "class" : "classes"}`,
    ],
    ["parameters", millions(total(levels, "parameters"))],
    ["weights", `${where} ${byteCount(bytes)} on disk, ${dtype}`],
    [
      "sampling",
      `guidance ${guidance} (${schedule}), temperature ${temperature}, filter threshold ${filterThreshold}, iterations ${iterations.join(",")}`,
    ],
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

/** The columns that can be added up. */
const counts = (of: (key: Count) => number): string[] => [
  millions(of("parameters")),
  millions(of("blockParameters")),
  billions(of("operations")),
  billions(of("likelihoodOperations")),
];

const footnote = [
  "squares: how many of an image a level generates (at the last one, pixels); sequence: patches or channels in each.",
  "GFLOPs: 2 for a multiplication with its addition, all products of one pass over all squares of one image, as the",
  "paper's complexity table counts: blocks over the sequence alone, its embedding and that of one condition.",
  "likelihood: the same with all that the likelihood computes, so with all conditions, guiding pixels and logits.",
  "in blocks: parameters of the transformer blocks alone, which is what the paper's table counts above the pixels.",
];

const millions = (count: number): string => `${rounded(count / 1e6)}M`;
const billions = (count: number): string => rounded(count / 1e9);
/** Three digits, two of what is below one, or all before the point. */
const rounded = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(value < 1 ? 2 : 3));

/** Columns of one width each; the first `left` of them begin at the left, numbers end at the right. */
function aligned(rows: readonly string[][], { left }: { left: number }): string[] {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i < left ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join("  ")
      .trimEnd(),
  );
}

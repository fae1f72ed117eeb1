/** What each level of a model holds and computes for one image, counted from its graphs. Knows no weights. */

import { product } from "../core/arrays.ts";
import { type ModelConfig, type PixelLevel, type PlacedLevel, pixelLevel, placedLevels } from "../config/model.ts";
import { input } from "../graph/build.ts";
import { floatingPointOperations } from "../graph/cost.ts";
import type { Tensor } from "../graph/tensor.ts";
import { scope, type Weights } from "./layers.ts";
import { marBlocks, maskedPatches, type PlacedAr, type PlacedMar, prefix, teachAr, teachPixels } from "./levels.ts";
import { conditionsTaken, pixelNats, teachLevel, weightsOf } from "./loss.ts";
import { levelPrefix, modelParameters, pixelPrefix } from "./parameters.ts";

export interface LevelComplexity {
  kind: "ar" | "mar" | "pixel";
  /** Side of a patch in pixels; 1 for the pixel level. */
  patch: number;
  /** How many squares of one image this level generates; pixels for the pixel level. */
  squares: number;
  /** What it generates in each of them one after another: patches, or the channels of a pixel. */
  sequence: number;
  layers: number;
  width: number;
  heads: number;
  /** All numbers in its tensors; the first level has the class embeddings. */
  parameters: number;
  /** Those in its transformer's blocks. */
  blockParameters: number;
  /**
   * Multiplications and additions of one pass over all squares of an image, as the paper's complexity table counts
   * them: the blocks over the sequence alone, its embedding and that of one condition.
   */
  operations: number;
  /** The same of all that the likelihood computes with every patch hidden: conditions, guiding pixels and logits too. */
  likelihoodOperations: number;
}

/** Level by level, the pixels last. */
export function complexity(config: ModelConfig): LevelComplexity[] {
  const { weights } = weightsOf(config);
  const counts = parametersByLevel(config);
  let squares = 1;
  const above = placedLevels(config).map((level, l): LevelComplexity => {
    const { kind, patch, tokens: sequence, depth: layers, width, heads } = level;
    const here = { kind, patch, squares, sequence, layers, width, heads, ...counts[l] };
    const graphs = levelGraphs(scope(weights, levelPrefix(l)), level, config.channels);
    const sizes = new Map([["R", squares]]);
    squares *= sequence;
    return { ...here, ...mapped(graphs, (graph) => floatingPointOperations(graph, sizes)) };
  });
  const { kind, depth: layers, width, heads } = pixelLevel(config);
  const graphs = pixelGraphs(scope(weights, pixelPrefix(config)), pixelLevel(config), {
    channels: config.channels,
    conditionWidth: above.at(-1)!.width,
  });
  const sizes = new Map([["K", squares]]);
  const here = { kind, patch: 1, squares, sequence: config.channels, layers, width, heads, ...counts[above.length] };
  return [...above, { ...here, ...mapped(graphs, (graph) => floatingPointOperations(graph, sizes)) }];
}

type Graph = Record<string, Tensor>;
type Graphs = Record<"operations" | "likelihoodOperations", Graph>;

const mapped = (graphs: Graphs, count: (graph: Graph) => number): Record<keyof Graphs, number> => ({
  operations: count(graphs.operations),
  likelihoodOperations: count(graphs.likelihoodOperations),
});

function levelGraphs(weights: Weights, level: PlacedLevel, channels: number): Graphs {
  const { size, patch, tokens, conditionWidth } = level;
  const images = input("images", "float32", ["R", channels, size, size]);
  const mask = level.kind === "mar" ? input("mask", "float32", ["R", tokens]) : undefined;
  const conditions = (count: number) => input("conditions", "float32", ["R", count, conditionWidth]);

  const patches = input("patches", "float32", [`${tokens}*R`, channels * patch ** 2]);
  const condition = prefix(weights, level, conditions(1)); // [R, 1, D]
  const operations: Graph =
    level.kind === "ar"
      ? { out: teachAr(weights, level as PlacedAr, { patches, prefix: condition }) }
      : {
          condition,
          out: blocksOf(weights, level as PlacedMar, maskedPatches(weights, level as PlacedMar, patches, mask!)),
        };

  const { out, guidingNats } = teachLevel(weights, level, {
    images,
    conditions: conditions(conditionsTaken(level)),
    mask,
  });
  return { operations, likelihoodOperations: guidingNats ? { out, guidingNats } : { out } };
}

const blocksOf = (weights: Weights, level: PlacedMar, tokens: Tensor): Tensor =>
  marBlocks(weights, level, tokens, { read: (x) => x });

function pixelGraphs(
  weights: Weights,
  level: PixelLevel,
  { channels, conditionWidth }: { channels: number; conditionWidth: number },
): Graphs {
  const condition = input("condition", "float32", ["K", conditionWidth]);
  const bytes = input("bytes", "int32", ["K", channels]);
  const logits = teachPixels(weights, level, { condition, bytes });
  return {
    // What the last product, with the codebooks, is taken of.
    operations: Object.fromEntries(logits.map(({ inputs: [out] }, c) => [`out.${c}`, out])),
    likelihoodOperations: { nats: pixelNats(weights, level, { condition, bytes }) },
  };
}

/** Names begin with one `next_fractal.` per level above theirs. */
function parametersByLevel(config: ModelConfig): Pick<LevelComplexity, "parameters" | "blockParameters">[] {
  const counts = config.levels.map(() => ({ parameters: 0, blockParameters: 0 }));
  for (const { name, shape } of modelParameters(config)) {
    const [, above, local] = /^((?:next_fractal\.)*)(.*)$/.exec(name)!;
    const count = counts[above.length / "next_fractal.".length];
    count.parameters += product(shape);
    if (/^(generator\.)?blocks\./.test(local)) count.blockParameters += product(shape);
  }
  return counts;
}

/** Parameters and operations of each level of a model for one image, counted from its graphs. Knows no weights. */

import { product } from "../core/arrays.ts";
import { type ModelConfig, pixelLevel } from "../config/model.ts";
import { input } from "../graph/build.ts";
import { floatingPointOperations } from "../graph/cost.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { PixelNetwork } from "../levels/pixel.ts";
import { maskOf, pixelNats, teachLevel } from "./loss.ts";
import { type LevelNetwork, networksOf } from "./networks.ts";
import type { Parameter } from "./parameters.ts";

export interface LevelComplexity {
  kind: string;
  /** Side of a patch in pixels; 1 for the pixel level. */
  patch: number;
  /** How many squares this level generates per image; for the pixel level, the number of pixels. */
  squares: number;
  /** Length of the sequence generated in each square: its patches, or the channels of a pixel. */
  sequence: number;
  layers: number;
  width: number;
  /** Attention heads, if it has attention. */
  heads?: number;
  /** Number of parameters; the first level includes the class embeddings. */
  parameters: number;
  /** Number of parameters in its transformer blocks. */
  blockParameters: number;
  /**
   * Multiplications and additions of one pass over all squares of an image, counted as in the paper's complexity table:
   * the blocks over the sequence, the patch embedding and the embedding of one condition.
   */
  operations: number;
  /**
   * The same for everything the likelihood computes with all patches hidden, including conditions, guiding pixels and
   * logits.
   */
  likelihoodOperations: number;
}

/** What can be summed over levels. */
export type Count = "parameters" | "blockParameters" | "operations" | "likelihoodOperations";

/** The sum of a count over all levels. */
export const total = (levels: readonly LevelComplexity[], key: Count): number =>
  levels.reduce((sum, level) => sum + level[key], 0);

/** The complexity of each level, the pixels last. */
export function complexity(config: ModelConfig): LevelComplexity[] {
  const networks = networksOf(config);
  let squares = 1;
  const above = networks.levels.map((one, l): LevelComplexity => {
    const { kind, patch, tokens: sequence, depth: layers, width, heads } = one.level;
    const counts = parametersOf(networks.parameters, l);
    const here = { kind, patch, squares, sequence, layers, width, heads, ...counts };
    const sizes = new Map([["R", squares]]);
    squares *= sequence;
    return { ...here, ...mapped(levelGraphs(one, l), (graph) => floatingPointOperations(graph, sizes)) };
  });
  const { kind, depth: layers, width, heads } = pixelLevel(config);
  const sizes = new Map([["K", squares]]);
  const counts = parametersOf(networks.parameters, above.length);
  const here = { kind, patch: 1, squares, sequence: config.channels, layers, width, heads, ...counts };
  return [
    ...above,
    { ...here, ...mapped(pixelGraphs(networks.pixels), (graph) => floatingPointOperations(graph, sizes)) },
  ];
}

type Graph = Record<string, Tensor>;
type Graphs = Record<"operations" | "likelihoodOperations", Graph>;

const mapped = (graphs: Graphs, count: (graph: Graph) => number): Record<keyof Graphs, number> => ({
  operations: count(graphs.operations),
  likelihoodOperations: count(graphs.likelihoodOperations),
});

function levelGraphs(one: LevelNetwork, l: number): Graphs {
  const { size, patch, tokens, channels, conditionWidth, conditions: count } = one.level;
  const conditions = (many: number) => input("conditions", "float32", ["R", many, conditionWidth]);
  const { out, guiding } = teachLevel(one, {
    images: input("images", "float32", ["R", channels, size, size]),
    conditions: conditions(count),
    mask: maskOf(one, l, ["R", tokens]),
  });
  return {
    operations: one.network.counted(input("patches", "float32", [`${tokens}*R`, channels * patch ** 2]), conditions(1)),
    likelihoodOperations: guiding ? { out, guidingNats: guiding.nats } : { out },
  };
}

function pixelGraphs(network: PixelNetwork): Graphs {
  const condition = input("condition", "float32", ["K", network.conditionWidth]);
  const bytes = input("bytes", "int32", ["K", network.channels]);
  const logits = network.teach({ condition, bytes });
  return {
    // The inputs of the last product, the one with the codebooks, which the paper does not count.
    operations: Object.fromEntries(logits.map(({ inputs: [out] }, c) => [`out.${c}`, out])),
    likelihoodOperations: { nats: pixelNats(network, { condition, bytes }) },
  };
}

/** The blocks of a guiding pixel are not counted as blocks of its level. */
function parametersOf(
  parameters: readonly Parameter[],
  l: number,
): Pick<LevelComplexity, "parameters" | "blockParameters"> {
  const own = parameters.filter(({ level }) => level === l);
  const total = (some: readonly Parameter[]) => some.reduce((sum, { shape }) => sum + product(shape), 0);
  return {
    parameters: total(own),
    blockParameters: total(own.filter(({ block, owner }) => block && owner !== "guidingPixel")),
  };
}

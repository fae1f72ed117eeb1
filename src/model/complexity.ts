/** What each level of a model holds and computes for one image, counted from its graphs. Knows no weights. */

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
  /** How many squares of one image this level generates; pixels for the pixel level. */
  squares: number;
  /** What it generates in each of them one after another: patches, or the channels of a pixel. */
  sequence: number;
  layers: number;
  width: number;
  /** Of attention, where it has any. */
  heads?: number;
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
    // What the last product, with the codebooks, is taken of.
    operations: Object.fromEntries(logits.map(({ inputs: [out] }, c) => [`out.${c}`, out])),
    likelihoodOperations: { nats: pixelNats(network, { condition, bytes }) },
  };
}

/** Blocks of a guiding pixel do not count among its level's. */
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

/**
 * The interface of a level kind, a row of `table.ts`. The recursion over the levels (configuration, loss, training,
 * sampling, editing, likelihood, export) knows nothing else of a level.
 */

import type { z } from "zod";
import type { HostTensor } from "../core/arrays.ts";
import type { Tree, Values } from "../graph/tree.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Training } from "../layers/layers.ts";
import type { Declare } from "../layers/parameters.ts";
import type { Order } from "./order.ts";

/** A level above the pixels in a configuration. Kinds may have further settings. */
export interface PatchLevel {
  kind: string;
  /** Side of a patch in pixels. */
  patch: number;
  width: number;
  /** Blocks of its transformer. */
  depth: number;
  heads?: number;
  /** How many of its parent's conditions it takes; 1 by default. */
  conditions?: number;
  /** Predict the mean colour of a square first and take it as one more condition. */
  guidingPixel?: boolean;
}

/** A level with what follows from its place in a model. */
export type Placed<L extends PatchLevel = PatchLevel> = Omit<L, "conditions" | "guidingPixel"> & {
  channels: number;
  /** Side in pixels of the square that this level generates. */
  size: number;
  /** Patches per side, and in all. */
  grid: number;
  tokens: number;
  conditions: number;
  guidingPixel: boolean;
  /** Width of the conditions that come from above. */
  conditionWidth: number;
  /** How many conditions of each patch it can hand down, and how many the level inside reads. */
  handsDown: number;
  conditionsRead: number;
};

/** How many tokens stand before the patches: conditions, and the guiding pixel where there is one. */
export const prefixTokens = ({ conditions, guidingPixel }: Pick<Placed, "conditions" | "guidingPixel">): number =>
  conditions + Number(guidingPixel);

/** What a square gets from the level above: conditions [R, c, D'], the middle one last, and the mean colour [R, C]. */
export interface Above {
  conditions: Tensor;
  colour?: Tensor;
}

/** Called with the input x [R * T, D] of every block except the first; returns the tensor to continue from. */
export type Between = (x: Tensor, block: number) => Tensor;

/** Squares in teacher forcing. */
export interface Taught extends Above {
  /** [R * N, C p p] */
  patches: Tensor;
  /** [R, N], where the order hides patches: 1 for each hidden one. */
  mask?: Tensor;
  training?: Training;
  between?: Between;
}

/** A step graph's outputs: `conditions` [M, c, D] of patches to be drawn, and whatever the kind keeps. */
export interface StepOutputs {
  readonly conditions: Tensor;
  readonly [name: string]: Tensor | readonly Tensor[];
}

/** A level's network: its parameters, declared once, and the ways in which it is run. */
export interface Network<Step extends StepOutputs = StepOutputs> {
  /** What a square begins with, embedded once: `prefix` [R', P, D], where R' is R, or 2 R with guidance. */
  begin(above: Above): Tensor;
  /** The output at every patch, teacher forced: [R * N, D]. */
  teach(squares: Taught): Tensor;
  /** One step of generating. Its input `prefix` is [R', P, D]; the others are the kind's own, which `decode` feeds. */
  step(options: { guided: boolean }): Step;
  /**
   * What the paper's complexity table counts: the blocks over the patches [R * N, C p p] alone, their embedding and that
   * of one condition [R, 1, D'].
   */
  counted(patches: Tensor, condition: Tensor): Record<string, Tensor>;
}

/** Some patches of squares: for each the row of its square, and its number there. */
export interface Patches {
  row: Int32Array;
  place: Int32Array;
}

/** Squares that are being generated, and what runs their step graph. */
export interface Decoding<Step extends StepOutputs = StepOutputs> {
  /** How many squares (R), and 2 with guidance: rows with the condition, then the same rows without. */
  rows: number;
  ways: number;
  /** [R', P, D] */
  prefix: HostTensor;
  /** Values of all patches [R * N * C p p], and 1 for each still to be drawn [R * N]. The recursion updates both. */
  patches: Float32Array;
  mask: Float32Array;
  /** The requested number of steps; a kind may ignore it. */
  iterations: number;
  /** For each row a random order of its patches [R * N]; drawn once. */
  orders(): Int32Array;
  /** Those patches whose images are still wanted. */
  wanted(patches: Patches): Patches;
  /** Runs one step of the step graph. */
  run(feeds: Tree<HostTensor>): Promise<Values<Step>>;
}

/** One step: the recursion draws the chosen patches before it asks for the next. */
export interface DecodedStep {
  /** From 0, and how many there are in the square that takes most. */
  step: number;
  steps: number;
  chosen: Patches;
  /** Conditions of the chosen patches, of each way: [ways * M, c, D]. */
  conditions: HostTensor;
  /** Share of each row's patches that are done after it, by its schedule. */
  done: readonly number[];
}

/** How large a step is. */
export interface StepSize {
  rows: number;
  ways: number;
  /** Patches that are drawn in each square. */
  each: number;
}

/** A kind of level above the pixels. `ar.ts` is a complete example. */
export interface LevelKind<L extends PatchLevel = PatchLevel, Step extends StepOutputs = StepOutputs> {
  /** The `kind` of its levels in a configuration. */
  name: L["kind"];
  /** Strict, with `name` as the literal `kind`. */
  schema: z.ZodObject;
  /** What else is wrong with a level that fits the schema, if anything. */
  fault(level: L): string | undefined;
  /** The conditions of each patch that it can hand down: 5 (see grid.ts), or the patch's own output alone. */
  handsDown: 5 | 1;
  /** In which order it generates patches: decides what training and the likelihood hide. */
  order: Order;
  /** Its network; `declare` makes its parameters. */
  network(declare: Declare, level: Placed<L>): Network<Step>;
  /** Runs the step graph until every wanted patch is drawn. */
  decode(level: Placed<L>, squares: Decoding<Step>): AsyncGenerator<DecodedStep, void>;
  /** For the memory estimate: sizes of its step graph's own symbols, and the bytes that it keeps between steps. */
  memory(level: Placed<L>, size: StepSize): { sizes: Record<string, number>; kept: number };
  /**
   * For programs that run exported step graphs: how to take the steps, the share of patches that is done after step s, and
   * what the graph's inputs, outputs and symbols mean.
   */
  exported: { steps: string; done: string; meanings: Record<string, string>; letters: Record<string, string> };
}

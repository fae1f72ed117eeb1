/**
 * The interface of a level kind, a row of `table.ts`. The recursion over the levels (configuration, loss, training,
 * sampling, editing, likelihood, export) uses a level only through this interface.
 */

import type { z } from "zod";
import type { DeviceTensor, HostTensor, Value } from "../core/arrays.ts";
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
  /** Predict the mean colour of a square first and use it as an additional condition. */
  guidingPixel?: boolean;
}

/** A level together with the values that follow from its place in a model. */
export type Placed<L extends PatchLevel = PatchLevel> = Omit<L, "conditions" | "guidingPixel"> & {
  channels: number;
  /** Side in pixels of the square that this level generates. */
  size: number;
  /** Patches per side, and in total. */
  grid: number;
  tokens: number;
  conditions: number;
  guidingPixel: boolean;
  /** Width of the conditions that come from the level above. */
  conditionWidth: number;
  /** How many conditions per patch this level can hand down, and how many the level below reads. */
  handsDown: number;
  conditionsRead: number;
};

/** Number of tokens before the patches: the conditions, and the guiding pixel if the level has one. */
export const prefixTokens = ({ conditions, guidingPixel }: Pick<Placed, "conditions" | "guidingPixel">): number =>
  conditions + Number(guidingPixel);

/**
 * Inputs that a square receives: conditions [R, c, D'] from the level above, the middle one last, and its mean colour
 * [R, C].
 */
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
  /** [R, N], if the order hides patches: 1 for each hidden patch. */
  mask?: Tensor;
  training?: Training;
  between?: Between;
}

/** A step graph's outputs: `conditions` [M, c, D] of the patches to be drawn, and any state that the kind keeps. */
export interface StepOutputs {
  readonly conditions: Tensor;
  readonly [name: string]: Tensor | readonly Tensor[];
}

/** Draws the patches of one step inside a graph: conditions [M', c, D] -> values [M, C p p]. */
export type DrawPatches = (conditions: Tensor) => Tensor;

/** A level's network: its parameters, declared once, and the ways in which it is run. */
export interface Network<Step extends StepOutputs = StepOutputs> {
  /** Embeds the inputs of a square, once per square: `prefix` [R', P, D], where R' is R, or 2 R with guidance. */
  begin(above: Above): Tensor;
  /** The output at every patch, teacher forced: [R * N, D]. */
  teach(squares: Taught): Tensor;
  /** One generation step. Its input `prefix` is [R', P, D]; its other inputs are defined by the kind and fed by `decode`. */
  step(options: { guided: boolean }): Step;
  /** Optional, for a kind with state between steps: the same step, with the state that stays on a device, for `runKept`. */
  keptStep?(options: { guided: boolean }): { conditions: Tensor; kept: readonly Tensor[] };
  /**
   * Optional, for the level above the pixels: several steps in one graph, for `drawing`. `draw` is called once per step,
   * in order. Returns the state that stays on the device.
   */
  drawnSteps?(options: { guided: boolean; steps: number; draw: DrawPatches }): readonly Tensor[];
  /**
   * The graph that the paper's complexity table counts: the blocks over the patches [R * N, C p p] only, the patch
   * embedding and the embedding of one condition [R, 1, D'], which stands for all that a level joins.
   */
  counted(patches: Tensor, condition: Tensor): Record<string, Tensor>;
}

/** A selection of patches: for each, the row of its square and its number within the square. */
export interface Patches {
  row: Int32Array;
  place: Int32Array;
}

/** Single pixels that a step drew: their bytes [M C], and if they are watched their probabilities [M C 256]. */
export interface DrawnPatches {
  bytes: Int32Array;
  probabilities?: Float32Array;
}

/** Squares that are being generated, and the function that runs their step graph. */
export interface Decoding<Step extends StepOutputs = StepOutputs> {
  /** Number of squares (R), and 1 or, with guidance, 2: the rows with the condition, then the same rows without it. */
  rows: number;
  ways: number;
  /** [R', P, D] */
  prefix: HostTensor;
  /**
   * Values of all patches [R * N * C p p], and 1 for each patch still to be drawn [R * N]. The recursion updates both.
   */
  patches: Float32Array;
  mask: Float32Array;
  /** The requested number of steps; a kind may ignore it. */
  iterations: number;
  /** A random order of the patches of each row [R * N]; call it once. */
  orders(): Int32Array;
  /** Filters the patches to those whose images are still wanted. */
  wanted(patches: Patches): Patches;
  /** Runs one step of the step graph. */
  run(feeds: Tree<HostTensor>): Promise<Values<Step>>;
  /** Only on a device with memory of its own: runs `keptStep`. The caller frees what it keeps. */
  runKept?(feeds: Tree<Value>): Promise<{ conditions: HostTensor; kept: readonly DeviceTensor[] }>;
  /** Only on such a device, at the level above the pixels, for squares of which nothing is known. */
  drawing?: {
    /** The largest number of steps per run. */
    steps: number;
    /**
     * Runs `drawnSteps`: as many steps as there are `chosen`, the patches that each of them draws. Returns what each step
     * drew. The caller frees what is kept.
     */
    run(
      chosen: readonly Patches[],
      feeds: Tree<Value>,
    ): Promise<{ drawn: readonly DrawnPatches[]; kept: readonly DeviceTensor[] }>;
  };
}

/** One step. The recursion stores the patches, which it draws if the step did not, before it asks for the next step. */
export type DecodedStep = {
  /** Number of this step, from 0, and the number of steps of the square that takes the most. */
  step: number;
  steps: number;
  chosen: Patches;
  /** Share of each row's patches that its schedule has finished after this step. */
  done: readonly number[];
} & (
  | {
      /**
       * Conditions of the chosen patches: [ways * M, c, D], with guidance first those with the condition, then those
       * without.
       */
      conditions: HostTensor;
    }
  /** What the chosen patches contain, if the step drew them. */
  | { drawn: DrawnPatches }
);

/** The size of a step. */
export interface StepSize {
  rows: number;
  ways: number;
  /** Patches drawn per square. */
  each: number;
}

/** A kind of level above the pixels. `ar.ts` is a complete example. */
export interface LevelKind<L extends PatchLevel = PatchLevel, Step extends StepOutputs = StepOutputs> {
  /** The `kind` of its levels in a configuration. */
  name: L["kind"];
  /** A strict object schema with `name` as the literal `kind`. */
  schema: z.ZodObject;
  /** Describes a further fault of a level that fits the schema, if it has one. */
  fault(level: L): string | undefined;
  /** How many conditions it can hand down per patch: 5 (see grid.ts), or only the patch's own output. */
  handsDown: 5 | 1;
  /** The order in which it generates patches. It determines what training and the likelihood hide. */
  order: Order;
  /**
   * Whether its network computes the same after each feature and each head is repeated, if the weights that read the
   * copies, those with `matrices` above 0, are divided among them. Then its levels can be widened (model/widen.ts).
   */
  repeatable?: boolean;
  /** Builds its network; parameters are created with `declare`. */
  network(declare: Declare, level: Placed<L>): Network<Step>;
  /** Runs the step graph until every wanted patch is drawn. */
  decode(level: Placed<L>, squares: Decoding<Step>): AsyncGenerator<DecodedStep, void>;
  /** For the memory estimate: sizes of the step graph's own symbolic dimensions, and the bytes kept between steps. */
  memory(level: Placed<L>, size: StepSize): { sizes: Record<string, number>; kept: number };
  /**
   * Documentation for programs that run exported step graphs: how to perform the steps, the share of patches that is
   * done after step s, and the meanings of the graph's inputs, outputs and symbolic dimensions. The meaning `keys.i` describes
   * keys.0, keys.1 and so on.
   */
  exported: { steps: string; done: string; meanings: Record<string, string>; letters: Record<string, string> };
}

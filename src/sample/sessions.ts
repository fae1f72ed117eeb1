/** The compiled graphs that sampling needs, each compiled on first use and then reused. */

import type { DeviceTensor, HostTensor, Value } from "../core/arrays.ts";
import type { Engine, Session, SessionOptions } from "../engine/engine.ts";
import { formFor } from "../graph/form.ts";
import { type WeightData, writeOnnx } from "../graph/onnx.ts";
import type { ModelConfig } from "../config/model.ts";
import type { DrawForm } from "../config/sampling.ts";
import type { Tensor } from "../graph/tensor.ts";
import { named, runTree, type Tree, type Values, valuesOf } from "../graph/tree.ts";
import type { Decoding } from "../levels/kind.ts";
import { networksOf } from "../model/networks.ts";
import { beginGraph, drawnStepsGraph, keptStepGraph, type Outputs, pixelGraph, stepGraph } from "../model/steps.ts";

/** A model whose weights are in a safetensors file. */
export interface SampledModel {
  config: ModelConfig;
  /** The folder that contains the file. */
  folder: string;
  /** Returns the location of a parameter in the file, by name. */
  weights: (name: string) => WeightData;
  /** Throws if the file was replaced meanwhile. */
  check?: () => void;
}

/** Runs a level's step graphs with the feeds of its kind, as `Decoding` in levels/kind.ts says. */
export interface StepSession extends Pick<Decoding, "run" | "runKept"> {
  /** Only on a device, at the level above the pixels. */
  drawing?: {
    steps: number;
    /** Runs `count` steps and draws their pixels: `bytes` [M, C] and `probabilities` [M, C, 256] of all of them. */
    run(
      feeds: Tree<Value>,
      options: { count: number; form: DrawForm; probabilities: boolean },
    ): Promise<{ bytes: HostTensor; probabilities?: HostTensor; kept: readonly DeviceTensor[] }>;
  };
}

/**
 * Steps per run on a device. A run waits for its results, which takes longer than the work of a small step; a graph of
 * more steps takes longer to compile.
 */
const stepsPerRun = 4;

export interface Sessions {
  begin(level: number): Promise<Session>;
  step(level: number, guided: boolean): StepSession;
  /**
   * The session that draws bytes of a level and, with `probabilities`, also returns the probabilities they were drawn
   * with.
   */
  pixels(level: number, guided: boolean, options: { form: DrawForm; probabilities?: boolean }): Promise<Session>;
  dispose(): Promise<void>;
}

export function samplingSessions(engine: Engine, { config, folder, weights, check }: SampledModel): Sessions {
  const made = new Map<string, Promise<{ session: Session; outputs: object }>>();
  const opened = <X extends { readonly [name: string]: Tree<Tensor> }>(
    name: string,
    graph: () => X,
    keep?: SessionOptions["keep"],
  ): Promise<{ session: Session; outputs: X }> => {
    const found = made.get(name) ?? open(graph(), keep);
    made.set(name, found);
    found.catch(() => made.delete(name)); // the next call tries again
    return found as Promise<{ session: Session; outputs: X }>;
  };
  const open = async <X extends Tree<Tensor>>(outputs: X, keep?: SessionOptions["keep"]) => ({
    session: await engine.session(writeOnnx(named(outputs), { weights, ...formFor(engine) }), { folder, check, keep }),
    outputs,
  });
  const once = async (name: string, graph: () => Outputs): Promise<Session> => (await opened(name, graph)).session;

  /** Runs a graph whose outputs are copied, except for the list `kept`. */
  async function runKept<X extends { readonly kept: readonly Tensor[] }>(
    name: string,
    graph: () => X & { readonly [name: string]: Tree<Tensor> },
    feeds: Tree<Value>,
  ): Promise<Values<Omit<X, "kept">> & { kept: readonly DeviceTensor[] }> {
    let names: ReadonlySet<string> = new Set();
    const written = () => {
      const outputs = graph();
      names = new Set(Object.keys(named({ kept: outputs.kept })));
      return outputs;
    };
    const { session, outputs } = await opened(name, written, (output) => names.has(output));
    const found = await session.runKept(named(feeds));
    const { kept, ...copied } = outputs;
    return { ...valuesOf(copied, found.outputs), kept: valuesOf(kept, found.kept, ["kept"]) };
  }

  // CUDA would copy what is kept, like the CPU.
  const onDevice = engine.provider === "webgpu";
  const { levels } = networksOf(config);
  return {
    begin: (l) => once(`begin ${l}`, () => beginGraph(config, l)),
    step(l, guided) {
      const { network } = levels[l];
      return {
        async run(feeds) {
          const { session, outputs } = await opened(`step ${l} ${guided}`, () => stepGraph(config, l, { guided }));
          return runTree(session, outputs, feeds);
        },
        runKept:
          onDevice && network.keptStep
            ? (feeds) => runKept(`kept step ${l} ${guided}`, () => keptStepGraph(config, l, { guided })!, feeds)
            : undefined,
        drawing:
          onDevice && network.drawnSteps && l + 1 === levels.length
            ? {
                steps: stepsPerRun,
                run: (feeds, { count, ...options }) =>
                  runKept(
                    `${count} steps ${guided} ${JSON.stringify(options)}`,
                    () => drawnStepsGraph(config, { guided, steps: count, ...options })!,
                    feeds,
                  ),
              }
            : undefined,
      };
    },
    pixels: (l, guided, options) =>
      once(`pixels ${l} ${guided} ${JSON.stringify(options)}`, () => pixelGraph(config, l, { guided, ...options })),
    async dispose() {
      await Promise.all([...made.values()].map(async (one) => (await one).session.dispose()));
      made.clear();
    },
  };
}

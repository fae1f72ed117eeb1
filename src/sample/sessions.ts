/** The compiled graphs that sampling needs, each compiled on first use and then reused. */

import type { Engine, Session, SessionOptions } from "../engine/engine.ts";
import { formFor } from "../graph/form.ts";
import { type WeightData, writeOnnx } from "../graph/onnx.ts";
import type { ModelConfig } from "../config/model.ts";
import type { DrawForm } from "../config/sampling.ts";
import type { Tensor } from "../graph/tensor.ts";
import { named, runTree, type Tree } from "../graph/tree.ts";
import type { Decoding } from "../levels/kind.ts";
import { beginGraph, type Outputs, pixelGraph, stepGraph } from "../model/steps.ts";

/** A model whose weights are in a safetensors file. */
export interface SampledModel {
  config: ModelConfig;
  /** The folder that contains the file. */
  folder: string;
  /** Returns the location of a parameter in the file, by name. */
  weights: (name: string) => WeightData;
}

/** Runs a level's step graph with the feeds of its kind, as `Decoding` in levels/kind.ts says. */
export type StepSession = Pick<Decoding, "run" | "runKept">;

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

export function samplingSessions(engine: Engine, { config, folder, weights }: SampledModel): Sessions {
  const made = new Map<string, Promise<{ session: Session; outputs: Tree<Tensor> }>>();
  const opened = <X extends Tree<Tensor>>(
    name: string,
    graph: () => X,
    keep?: SessionOptions["keep"],
  ): Promise<{ session: Session; outputs: X }> => {
    const found = made.get(name) ?? open(graph(), keep);
    made.set(name, found);
    return found as Promise<{ session: Session; outputs: X }>;
  };
  const open = async (outputs: Tree<Tensor>, keep?: SessionOptions["keep"]) => ({
    session: await engine.session(writeOnnx(named(outputs), { weights, ...formFor(engine) }), { folder, keep }),
    outputs,
  });
  const once = async (name: string, graph: () => Outputs): Promise<Session> => (await opened(name, graph)).session;
  return {
    begin: (l) => once(`begin ${l}`, () => beginGraph(config, l)),
    step: (l, guided) => ({
      async run(feeds) {
        const { session, outputs } = await opened(`step ${l} ${guided}`, () => stepGraph(config, l, { guided }));
        return runTree(session, outputs, feeds);
      },
      // CUDA would copy what is kept, like the CPU.
      runKept:
        engine.provider === "webgpu"
          ? async (feeds) => {
              const graph = () => stepGraph(config, l, { guided, kept: true });
              const { session } = await opened(`kept step ${l} ${guided}`, graph, (name) => name !== "conditions");
              const { outputs, kept } = await session.runKept(named(feeds));
              return { conditions: outputs.conditions, kept };
            }
          : undefined,
    }),
    pixels: (l, guided, options) =>
      once(`pixels ${l} ${guided} ${JSON.stringify(options)}`, () => pixelGraph(config, l, { guided, ...options })),
    async dispose() {
      await Promise.all([...made.values()].map(async (one) => (await one).session.dispose()));
      made.clear();
    },
  };
}

/** The compiled graphs that sampling needs, each made once, when it is first used. */

import type { Engine, Session } from "../engine/engine.ts";
import { type WeightData, writeOnnx } from "../graph/onnx.ts";
import type { ModelConfig } from "../config/model.ts";
import type { DrawForm } from "../config/sampling.ts";
import type { HostTensor } from "../core/arrays.ts";
import type { Tensor } from "../graph/tensor.ts";
import { named, runTree, type Tree, type Values } from "../graph/tree.ts";
import type { StepOutputs } from "../levels/kind.ts";
import { beginGraph, type Outputs, pixelGraph, stepGraph } from "../model/steps.ts";

/** A model whose weights lie in a safetensors file. */
export interface SampledModel {
  config: ModelConfig;
  /** The folder that holds the file. */
  folder: string;
  /** Where a parameter lies in the file, by its name. */
  weights: (name: string) => WeightData;
}

/** A level's step graph: what its kind feeds it, and what that gives, in the places that the kind has for them. */
export type StepSession = (feeds: Tree<HostTensor>) => Promise<Values<StepOutputs>>;

export interface Sessions {
  begin(level: number): Promise<Session>;
  step(level: number, guided: boolean): Promise<StepSession>;
  /** Draws bytes of a level; with `probabilities` it also gives what they were drawn with. */
  pixels(level: number, guided: boolean, options: { form: DrawForm; probabilities?: boolean }): Promise<Session>;
  dispose(): Promise<void>;
}

export function samplingSessions(engine: Engine, { config, folder, weights }: SampledModel): Sessions {
  const made = new Map<string, Promise<{ session: Session; outputs: Tree<Tensor> }>>();
  const opened = <X extends Tree<Tensor>>(name: string, graph: () => X): Promise<{ session: Session; outputs: X }> => {
    const found = made.get(name) ?? open(graph());
    made.set(name, found);
    return found as Promise<{ session: Session; outputs: X }>;
  };
  const open = async (outputs: Tree<Tensor>) => ({
    session: await engine.session(writeOnnx(named(outputs), { weights }), { folder }),
    outputs,
  });
  const once = async (name: string, graph: () => Outputs): Promise<Session> => (await opened(name, graph)).session;
  return {
    begin: (l) => once(`begin ${l}`, () => beginGraph(config, l)),
    async step(l, guided) {
      const { session, outputs } = await opened(`step ${l} ${guided}`, () => stepGraph(config, l, { guided }));
      return (feeds) => runTree(session, outputs, feeds);
    },
    pixels: (l, guided, options) =>
      once(`pixels ${l} ${guided} ${JSON.stringify(options)}`, () => pixelGraph(config, l, { guided, ...options })),
    async dispose() {
      await Promise.all([...made.values()].map(async (one) => (await one).session.dispose()));
      made.clear();
    },
  };
}

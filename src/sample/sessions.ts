/** The compiled graphs that sampling needs, each made once, when it is first used. */

import type { Engine, Session } from "../engine/engine.ts";
import { type WeightData, writeOnnx } from "../graph/onnx.ts";
import { type ModelConfig, placedLevels } from "../config/model.ts";
import type { DrawForm } from "../config/sampling.ts";
import {
  arStepGraph,
  beginGraph,
  guidingPixels,
  lastPixels,
  marStepGraph,
  type Outputs,
  pixelGraph,
} from "../model/steps.ts";

/** A model whose weights lie in a safetensors file. */
export interface SampledModel {
  config: ModelConfig;
  /** The folder that holds the file, and where each parameter lies in it. */
  folder: string;
  weights: (name: string) => WeightData;
}

export interface Sessions {
  begin(level: number): Promise<Session>;
  step(level: number, guided: boolean): Promise<Session>;
  guiding(level: number, guided: boolean, form: DrawForm): Promise<Session>;
  /** With `probabilities` it also gives what bytes were drawn with. */
  pixels(guided: boolean, form: DrawForm, options?: { probabilities?: boolean }): Promise<Session>;
  dispose(): Promise<void>;
}

export function samplingSessions(engine: Engine, { config, folder, weights }: SampledModel): Sessions {
  const made = new Map<string, Promise<Session>>();
  const levels = placedLevels(config);
  const once = (name: string, graph: () => Outputs): Promise<Session> => {
    let session = made.get(name);
    if (!session) made.set(name, (session = engine.session(writeOnnx(graph(), { weights }), { folder })));
    return session;
  };
  return {
    begin: (l) => once(`begin ${l}`, () => beginGraph(config, l)),
    step: (l, guided) =>
      once(`step ${l} ${guided}`, () => (levels[l].kind === "ar" ? arStepGraph : marStepGraph)(config, l, { guided })),
    guiding: (l, guided, form) =>
      once(`guiding ${l} ${guided} ${inWords(form)}`, () =>
        pixelGraph(config, guidingPixels(config, l), { guided, form }),
      ),
    pixels: (guided, form, { probabilities = false } = {}) =>
      once(`pixels ${guided} ${inWords(form)} ${probabilities}`, () =>
        pixelGraph(config, lastPixels(config), { guided, form, probabilities }),
      ),
    async dispose() {
      await Promise.all([...made.values()].map(async (session) => (await session).dispose()));
      made.clear();
    },
  };
}

const inWords = (form: DrawForm): string => JSON.stringify(Object.entries(form));

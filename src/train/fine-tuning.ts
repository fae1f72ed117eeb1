/** The starting state of a model that begins with the weights of others. */

import type { ModelConfig } from "../config/model.ts";
import type { HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { derive, seedKey } from "../core/random.ts";
import type { ModelFolder } from "../files/model.ts";
import { readTensor } from "../files/safetensors.ts";
import { modelParameters, type Parameter } from "../model/parameters.ts";
import { widened, widens } from "../model/widen.ts";
import { copied, type Starting, startingState, type TrainingState } from "./state.ts";

/** A starting state, and where its tensors come from: a model's folder, or undefined for random values. */
export interface FineTuned {
  state: TrainingState;
  origins: ReadonlyMap<string, string | undefined>;
  /** The names of the tensors that were widened from a narrower pixel level. */
  widened: ReadonlySet<string>;
}

/**
 * A starting state for fine-tuning. Each tensor comes from the first model that has one of its name and shape, and has
 * random values if none has. If no model has a whole pixel level that fits, all of it is widened from the first model
 * whose pixel level allows that. A class keeps its embedding of the first model that knows it, and a new class gets a
 * new one; moments start at zero. Throws a UserError if nothing comes from one of the models.
 */
export function fineTunedState(
  from: readonly ModelFolder[],
  { model, seed, ema, optimizer, ...starts }: Starting & { model: ModelConfig; seed: number },
): FineTuned {
  const state = startingState(model, seed, { ...starts, ema: 0, optimizer });
  const origins = new Map<string, string | undefined>();
  const used = new Set<string>();
  const wider = new Set<string>();
  const parameters = modelParameters(model);
  const has = ({ weights }: ModelFolder, { name, shape }: Parameter) =>
    String(weights.tensors.get(name)?.shape) === String(shape);
  const pixels = parameters.filter(({ owner }) => owner === "pixels");
  const narrow = from.some((one) => pixels.every((parameter) => has(one, parameter)))
    ? undefined
    : from.find(({ config }) => widens(config, model));
  for (const [i, parameter] of parameters.entries()) {
    const { name, shape, owner } = parameter;
    const value = state.values.get(name)!;
    if (name === classEmbedding) {
      const embedded = embedClasses(from, value, { classes: model.classes, width: shape[1] });
      origins.set(name, embedded[0]);
      for (const folder of embedded) used.add(folder);
      continue;
    }
    const wide = owner === "pixels" && narrow !== undefined;
    const origin = wide ? narrow : from.find((one) => has(one, parameter));
    origins.set(name, origin?.folder);
    if (!origin) continue;
    used.add(origin.folder);
    const given = readTensor(origin.weights, name) as HostTensor<Float32Array>; // one at a time
    if (wide && !has(origin, parameter)) wider.add(name);
    value.set(wide ? widened(parameters, parameter, { ...given, key: derive(seedKey(seed), i) }) : given.data);
  }
  const unused = from.find(({ folder }, i) => !used.has(folder) || from.findIndex((one) => one.folder === folder) < i);
  if (unused)
    throw new UserError({
      subject: unused.folder,
      problem: "it contributes no tensors, because none of its remaining tensors matches this model's names and shapes",
      hint: ["leave it out", "change the levels"],
    });
  return { state: ema > 0 ? { ...state, average: copied(state.values) } : state, origins, widened: wider };
}

/**
 * Copies the embedding [D] of each class from the first model of this width that knows the class, into `rows` [C, D].
 * Returns the folders of the models that were used.
 */
function embedClasses(
  from: readonly ModelFolder[],
  rows: Float32Array,
  { classes, width }: { classes: readonly string[]; width: number },
): string[] {
  const left = new Set(classes.keys());
  return from.flatMap(({ folder, config, weights }) => {
    if (weights.tensors.get(classEmbedding)?.shape[1] !== width) return [];
    const known = [...left].filter((label) => config.classes.includes(classes[label]));
    if (known.length === 0) return [];
    const given = readTensor(weights, classEmbedding).data as Float32Array;
    for (const label of known) {
      const at = config.classes.indexOf(classes[label]);
      rows.set(given.subarray(at * width, (at + 1) * width), label * width);
      left.delete(label);
    }
    return [folder];
  });
}

const classEmbedding = "class_emb.weight";

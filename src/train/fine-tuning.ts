/** The starting state of a model that begins with the weights of others. */

import type { ModelConfig } from "../config/model.ts";
import type { HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { derive, seedKey } from "../core/random.ts";
import type { ModelFolder } from "../files/model.ts";
import { readTensor } from "../files/safetensors.ts";
import { modelParameters, type Parameter } from "../model/parameters.ts";
import { widening, widens } from "../model/widen.ts";
import { copied, type Starting, startingState, type TrainingState } from "./state.ts";

/** A starting state, and where its tensors come from: a model's folder, or undefined for random values. */
export interface FineTuned {
  state: TrainingState;
  origins: ReadonlyMap<string, string | undefined>;
  /** The names of the tensors that were widened from a narrower model. */
  widened: ReadonlySet<string>;
}

/**
 * A starting state for fine-tuning. Each tensor comes from the first model that has one of its name and shape, and has
 * random values if none has. If no model has a whole level that fits, all of that level is widened from the first model
 * that allows it. A class keeps its embedding of the first model that knows it, and a new class gets a
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
  const widen = widening(model);
  const narrow = model.levels.map((_, l) => {
    const own = parameters.filter(({ level, owner }) => level === l && owner !== "classes");
    if (from.some((one) => own.every((parameter) => has(one, parameter)))) return undefined;
    return from.find(({ config }) => widens(config, model, l));
  });
  for (const [i, parameter] of parameters.entries()) {
    const { name, shape, level } = parameter;
    const wide = narrow[level];
    const value = state.values.get(name)!;
    if (name === classEmbedding) {
      const embedded = embedClasses(from, value, { classes: model.classes, width: shape[1], wide });
      origins.set(name, embedded[0]);
      for (const folder of embedded) used.add(folder);
      continue;
    }
    const origin = wide ?? from.find((one) => has(one, parameter));
    origins.set(name, origin?.folder);
    if (!origin) continue;
    used.add(origin.folder);
    const given = readTensor(origin.weights, name) as HostTensor<Float32Array>; // one at a time
    if (!has(origin, parameter)) wider.add(name);
    value.set(wider.has(name) ? widen(parameter, { ...given, key: derive(seedKey(seed), i) }) : given.data);
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
 * Copies the embedding [D] of each class from the first model of this width that knows the class, into `rows` [C, D];
 * those of a narrower model, whose first level is widened, are repeated. Returns the folders of the models that were used.
 */
function embedClasses(
  from: readonly ModelFolder[],
  rows: Float32Array,
  { classes, width, wide }: { classes: readonly string[]; width: number; wide?: ModelFolder },
): string[] {
  const left = new Set(classes.keys());
  return from.flatMap((one) => {
    const { folder, config, weights } = one;
    const own = weights.tensors.get(classEmbedding)?.shape[1];
    if (own === undefined || (own !== width && one !== wide)) return [];
    const known = [...left].filter((label) => config.classes.includes(classes[label]));
    if (known.length === 0) return [];
    const given = readTensor(weights, classEmbedding).data as Float32Array;
    for (const label of known) {
      const at = config.classes.indexOf(classes[label]);
      for (let column = 0; column < width; column++) rows[label * width + column] = given[at * own + (column % own)];
      left.delete(label);
    }
    return [folder];
  });
}

const classEmbedding = "class_emb.weight";

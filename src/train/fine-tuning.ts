/** The starting state of a model that begins with the weights of others. */

import type { ModelConfig } from "../config/model.ts";
import type { HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { derive, seedKey } from "../core/random.ts";
import type { ModelFolder } from "../files/model.ts";
import { readTensor } from "../files/safetensors.ts";
import { modelParameters } from "../model/parameters.ts";
import { growthOf, widening } from "../model/widen.ts";
import { copied, type Starting, startingState, type TrainingState } from "./state.ts";

/** A starting state, and where its tensors come from: a model's folder, or undefined for random values. */
export interface FineTuned {
  state: TrainingState;
  origins: ReadonlyMap<string, string | undefined>;
  /** The names of the tensors that were widened from a narrower model. */
  widened: ReadonlySet<string>;
  /** In what a level with random values differs from the first model that has one of its kind in its place. */
  differences: readonly string[];
}

/**
 * A starting state for fine-tuning. Each level comes from the first model whose level fits, as it is or widened
 * (`growthOf`); in a level that no model has, each tensor comes from the first model that has one of its name and shape,
 * and has random values if none has. A class keeps its embedding of the first model that knows it, and a new class gets a
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
  const random = new Set<number>();
  const sources = sourcesOf(from, model);
  const widen = widening(model);
  for (const [i, parameter] of modelParameters(model).entries()) {
    const { name, shape, level } = parameter;
    const value = state.values.get(name)!;
    const has = ({ weights }: ModelFolder) => String(weights.tensors.get(name)?.shape) === String(shape);
    const source = sources[level];
    if (name === classEmbedding) {
      const embedded = embedClasses(from, value, { classes: model.classes, width: shape[1], source });
      origins.set(name, embedded[0]);
      for (const folder of embedded) used.add(folder);
      const own = source?.weights.tensors.get(name)!.shape[1];
      if (embedded[0] === source?.folder && own !== undefined && own < shape[1]) wider.add(name);
      continue;
    }
    const origin = source ?? from.find(has);
    origins.set(name, origin?.folder);
    if (!origin) {
      random.add(level);
      continue;
    }
    used.add(origin.folder);
    const given = readTensor(origin.weights, name) as HostTensor<Float32Array>; // one at a time
    if (!has(origin)) wider.add(name);
    value.set(wider.has(name) ? widen(parameter, { ...given, key: derive(seedKey(seed), i) }) : given.data);
  }
  const unused = from.find(({ folder }, i) => !used.has(folder) || from.findIndex((one) => one.folder === folder) < i);
  if (unused)
    throw new UserError({
      subject: unused.folder,
      problem: "it contributes no tensors: none fits, or the other models already provide those that do",
      hint: ["leave it out", "change the levels"],
    });
  return {
    state: ema > 0 ? { ...state, average: copied(state.values) } : state,
    origins,
    widened: wider,
    differences: [...random].flatMap((level) => differencesOf(from, model, level)),
  };
}

/** For each level, the first model that has it, as it is or narrower. */
function sourcesOf(from: readonly ModelFolder[], model: ModelConfig): (ModelFolder | undefined)[] {
  const sources: (ModelFolder | undefined)[] = [];
  for (const l of model.levels.keys())
    sources[l] = from.find((one) => {
      const growth = growthOf(one.config, model, l);
      if (typeof growth !== "object") return false;
      return l === 0 || growth.above === 1 || sources[l - 1] === one; // a level knows only its own parent's features
    });
  return sources;
}

function differencesOf(from: readonly ModelFolder[], model: ModelConfig, level: number): string[] {
  for (const { config, folder } of from) {
    const growth = growthOf(config, model, level);
    const differs = typeof growth === "object" ? "the level above does not" : growth;
    if (differs) return [`levels[${level}] does not fit that of ${folder}: ${differs}`];
  }
  return [];
}

/**
 * Copies the embedding [D] of each class from the first model of this width that knows the class, into `rows` [C, D].
 * `source` is the model that the first level comes from: it is tried first, and if it is narrower, its embeddings are
 * repeated. Returns the folders of the models that were used.
 */
function embedClasses(
  from: readonly ModelFolder[],
  rows: Float32Array,
  { classes, width, source }: { classes: readonly string[]; width: number; source?: ModelFolder },
): string[] {
  const left = new Set(classes.keys());
  const inOrder = source ? [source, ...from.filter((one) => one !== source)] : from;
  return inOrder.flatMap((one) => {
    const { folder, config, weights } = one;
    const own = weights.tensors.get(classEmbedding)?.shape[1];
    if (own === undefined || (own !== width && one !== source)) return [];
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

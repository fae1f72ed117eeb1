/** Finds the model's weights in a checkpoint of any common trainer. Knows nothing of file formats. */

import { UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";
import { Opaque } from "./pickle.ts";
import { pathText } from "./regular.ts";
import { type Checkpoint, isTensorRef, type TensorRef } from "./tensors.ts";

export const weightKinds = ["model", "ema"] as const;
/** The weights that were trained, or their moving average. */
export type WeightKind = (typeof weightKinds)[number];

/** The keys under which trainers store them: the published trainer, Lightning, timm, and other common ones. */
const places: Record<WeightKind, readonly string[]> = {
  model: ["model", "state_dict", "model_state_dict", "module", "net"],
  ema: ["model_ema", "ema", "ema_model", "state_dict_ema", "ema_state_dict", "model_ema_state_dict"],
};

/** Prefixes that wrappers add to every name: DistributedDataParallel, torch.compile, Lightning, averaging. */
const wrappers = ["module.", "_orig_mod.", "model.", "ema_model.", "net."];

export interface StateDict {
  tensors: Map<string, TensorRef>;
  /** Notes for the user on how the weights were found, one sentence each. */
  notes: string[];
}

export interface StateDictOptions {
  /** The expected names. They decide between prefixes, and which opaque values are errors. */
  wanted?: ReadonlySet<string>;
  /** Default: the trained weights, or the moving average if there are no others. */
  weights?: WeightKind;
}

/**
 * Returns the weights by their published names. Values that are not tensors are left out, and prefixes of wrappers are
 * removed. Throws a UserError if there are no weights, or if an unknown object takes the place of one.
 */
export function stateDict(
  { path, value }: Pick<Checkpoint, "path" | "value">,
  { wanted, weights }: StateDictOptions = {},
): StateDict {
  if (value instanceof Opaque)
    throw new UserError(
      `${pathText(path)}: it holds an object of the class ${value.name}, which cannot be read; expected a dict of tensors, as saved by torch.save(model.state_dict(), ...)`,
    );
  const root = value instanceof Map ? value : new Map<unknown, unknown>();
  const found = {
    model: placed(root, "model") ?? (hasTensors(root) ? { at: "", dict: root } : undefined),
    ema: placed(root, "ema"),
  };
  const kind = weights ?? (found.model ? "model" : "ema");
  const chosen = found[kind];
  if (!chosen) throw new UserError(`${pathText(path)}: ${none(root, weights)}`);
  const notes: string[] = [];
  if (!found.model && !weights) notes.push(`used the weights under "${chosen.at}", a moving average`);
  if (found.model && found.ema && !weights)
    notes.push(
      `used the weights ${chosen.at ? `under "${chosen.at}"` : "at the root"}; for the moving average under "${found.ema.at}", choose the weights "ema"`,
    );
  const { tensors, prefix, left } = unwrapped(path, chosen.dict, wanted);
  if (prefix) notes.push(`removed the prefix "${shown(prefix)}" from the names`);
  if (left.length > 0) notes.push(`left out ${left.length} tensors without the prefix, such as ${shown(left[0])}`);
  return { tensors, notes };
}

/** The tensors of `stateDict`, without the notes. */
export const modelTensors = (checkpoint: Pick<Checkpoint, "path" | "value">): Map<string, TensorRef> =>
  stateDict(checkpoint).tensors;

type Dict = ReadonlyMap<unknown, unknown>;

const hasTensors = (dict: Dict): boolean => [...dict.values()].some(isTensorRef);

function placed(root: Dict, kind: WeightKind): { at: string; dict: Dict } | undefined {
  for (const at of places[kind]) {
    const dict = root.get(at);
    if (dict instanceof Map && hasTensors(dict)) return { at, dict };
  }
  return undefined;
}

function unwrapped(
  path: string,
  dict: Dict,
  wanted: ReadonlySet<string> | undefined,
): { tensors: Map<string, TensorRef>; prefix: string; left: string[] } {
  const named = [...dict].filter((item): item is [string, unknown] => typeof item[0] === "string");
  const names = named.filter(([, value]) => isTensorRef(value)).map(([name]) => name);
  const prefix = prefixOf(names, wanted);
  const tensors = new Map<string, TensorRef>();
  const left: string[] = [];
  for (const [name, value] of named) {
    const own = name.startsWith(prefix) ? name.slice(prefix.length) : undefined;
    if (value instanceof Opaque && own !== undefined && (!wanted || wanted.has(own)))
      throw new UserError(
        `${pathText(path)}: ${shown(name)} is an object of the class ${value.name}, which cannot be read; expected a plain tensor`,
      );
    if (!isTensorRef(value)) continue;
    if (own === undefined) left.push(name);
    else tensors.set(own, value);
  }
  return { tensors, prefix, left };
}

/**
 * The prefix (of nested wrappers) under which most of the expected names are found; otherwise the prefix that most
 * names share.
 */
function prefixOf(names: readonly string[], wanted: ReadonlySet<string> | undefined): string {
  const score = (prefix: string) =>
    names.filter((name) => name.startsWith(prefix) && (wanted?.has(name.slice(prefix.length)) ?? true)).length;
  const candidates = [""];
  for (const prefix of candidates)
    for (const wrapper of wrappers) {
      const longer = prefix + wrapper;
      if (longer.length < 64 && names.some((name) => name.startsWith(longer))) candidates.push(longer);
    }
  // On a tie the longest wins, so that the prefixes of all nested wrappers are removed.
  return candidates.reduce((best, one) => (score(one) >= score(best) && score(one) > 0 ? one : best));
}

function none(root: Dict, weights: WeightKind | undefined): string {
  const keys =
    root.size > 0
      ? `its keys are ${[...root.keys()]
          .slice(0, 8)
          .map((key) => shown(key, 40))
          .join(", ")}`
      : "it is not a dict";
  const asked = weights === "ema" ? "no moving average of the weights" : "no model weights";
  const at = weights ? places[weights] : [...places.model.slice(0, 3), places.ema[0]];
  // Objects of unknown classes are never constructed, so weights inside one cannot be read.
  const held = at.find((one) => root.get(one) instanceof Opaque);
  if (held !== undefined)
    return `"${held}" is an object of the class ${(root.get(held) as Opaque).name}, which cannot be read; expected a dict of tensors; save its state_dict()`;
  const orAtRoot = weights === "ema" ? "" : " or at the root";
  return `${asked} found: expected tensors under ${at.map((one) => `"${one}"`).join(", ")}${orAtRoot}, but ${keys}`;
}

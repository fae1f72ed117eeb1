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
/** Longer prefixes, and dicts inside more dicts, are not searched. */
const longestPrefix = 64;
const deepest = 4;

/** A part of a key or of a prefix that marks a moving average: `model_ema`, `ema_model`, `shadow`, `averaged_model`. */
const isAverage = (path: string): boolean => /(^|[._])(ema|shadow|averaged?)($|[._])/i.test(path);

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
    throw new UserError({
      subject: pathText(path),
      problem: `it holds an object of the class ${value.name}, which cannot be read`,
      expected: "a dict of tensors, as saved by torch.save(model.state_dict(), ...)",
    });
  const root = value instanceof Map ? value : new Map<unknown, unknown>();
  const all = candidates(root, wanted);
  const found = { model: best(all, "model"), ema: best(all, "ema") };
  const other = found.ema && found.ema.score >= (found.model?.score ?? 0) ? found.ema : undefined;
  const kind = weights ?? (found.model ? "model" : "ema");
  const chosen = found[kind];
  if (!chosen) throw new UserError({ subject: pathText(path), problem: none(root, weights) });
  const notes: string[] = [];
  const under = chosen.at ? `under "${shown(chosen.at)}"` : "at the root";
  if (!found.model && !weights) notes.push(`used the weights ${under}, a moving average`);
  else if (found.model && other && !weights)
    notes.push(
      `used the weights ${under}; for the moving average under "${shown(isAverage(other.at) ? other.at : other.prefix)}", choose the weights "ema"`,
    );
  else if (chosen.at && !places[kind].includes(chosen.at)) notes.push(`used the weights ${under}`);
  const same = all.find(
    (one) => one.kind === kind && one.dict !== chosen.dict && one.score > 0 && one.score === chosen.score,
  );
  if (same) notes.push(`"${shown(same.at)}" contains weights with the same names, which were not used`);
  const { prefix } = chosen;
  const { tensors, left } = unwrapped(path, chosen, wanted);
  if (prefix) notes.push(`removed the prefix "${shown(prefix)}" from the names`);
  if (left.length > 0) notes.push(`left out ${left.length} tensors without the prefix, such as ${shown(left[0])}`);
  return { tensors, notes };
}

/** The tensors of `stateDict`, without the notes. */
export const modelTensors = (checkpoint: Pick<Checkpoint, "path" | "value">): Map<string, TensorRef> =>
  stateDict(checkpoint).tensors;

type Dict = ReadonlyMap<unknown, unknown>;

/** A dict and a prefix of the names in it, under which the weights may be. */
interface Candidate {
  /** Where the dict is: keys joined by dots, "" for the root. */
  at: string;
  dict: Dict;
  prefix: string;
  kind: WeightKind;
  /** The number of expected names that it contains; 0 if none are known. */
  score: number;
}

const hasTensors = (dict: Dict): boolean => [...dict.values()].some(isTensorRef);
const tensorNames = (dict: Dict): string[] =>
  [...dict].flatMap(([name, value]) => (typeof name === "string" && isTensorRef(value) ? [name] : []));

/** The best last: a later candidate of the same score is preferred. */
function best(all: readonly Candidate[], kind: WeightKind): Candidate | undefined {
  return all
    .filter((one) => one.kind === kind)
    .reduce<Candidate | undefined>((top, one) => (top && top.score > one.score ? top : one), undefined);
}

/**
 * All places with expected names, wherever they are. If there are none, or no names are expected, the usual places,
 * with the prefix that most names share.
 */
function candidates(root: Dict, wanted: ReadonlySet<string> | undefined): Candidate[] {
  const kindOf = (at: string, prefix: string): WeightKind =>
    isAverage(at) || isAverage(prefix.slice(0, -1)) ? "ema" : "model";
  const matching = [...dicts(root)]
    .reverse()
    .flatMap(({ at, dict }) =>
      [...prefixes(dict, wanted)].map(([prefix, score]) => ({ at, dict, prefix, score, kind: kindOf(at, prefix) })),
    );
  if (matching.length > 0) return matching;
  const usual = (kind: WeightKind) =>
    [...places[kind]].reverse().flatMap((at): Candidate[] => {
      const dict = root.get(at);
      return dict instanceof Map && hasTensors(dict) ? [{ at, dict, prefix: prefixOf(dict), kind, score: 0 }] : [];
    });
  const atRoot: Candidate = { at: "", dict: root, prefix: prefixOf(root), kind: "model", score: 0 };
  return [...(hasTensors(root) ? [atRoot] : []), ...usual("model"), ...usual("ema")];
}

/** All dicts that contain tensors: those in the usual places first, then the others, the least nested first. */
function dicts(root: Dict): { at: string; dict: Dict }[] {
  const found: { at: string; dict: Dict; depth: number }[] = [];
  const seen = new Set<Dict>();
  const visit = (dict: Dict, keys: readonly string[]) => {
    if (seen.has(dict) || keys.length > deepest) return;
    seen.add(dict);
    if (hasTensors(dict)) found.push({ at: keys.join("."), dict, depth: keys.length });
    for (const [key, value] of dict) if (typeof key === "string" && value instanceof Map) visit(value, [...keys, key]);
  };
  visit(root, []);
  const usual = [...places.model, ...places.ema];
  const rank = ({ at }: { at: string }) => (usual.includes(at) ? usual.indexOf(at) : usual.length);
  return found.sort((a, b) => rank(a) - rank(b) || a.depth - b.depth);
}

/** Prefixes under which a dict contains expected names, with their number. */
function prefixes(dict: Dict, wanted: ReadonlySet<string> | undefined): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of wanted ? tensorNames(dict) : [])
    for (let end = 0; end <= longestPrefix; end = name.indexOf(".", end) + 1) {
      if (wanted!.has(name.slice(end))) counts.set(name.slice(0, end), (counts.get(name.slice(0, end)) ?? 0) + 1);
      if (!name.includes(".", end)) break;
    }
  return counts;
}

function unwrapped(
  path: string,
  { dict, prefix }: Candidate,
  wanted: ReadonlySet<string> | undefined,
): { tensors: Map<string, TensorRef>; left: string[] } {
  const tensors = new Map<string, TensorRef>();
  const left: string[] = [];
  for (const [name, value] of dict) {
    if (typeof name !== "string") continue;
    const own = name.startsWith(prefix) ? name.slice(prefix.length) : undefined;
    if (value instanceof Opaque && own !== undefined && (!wanted || wanted.has(own)))
      throw new UserError({
        subject: pathText(path),
        problem: `${shown(name)} is an object of the class ${value.name}, which cannot be read`,
        expected: "a plain tensor",
      });
    if (!isTensorRef(value)) continue;
    if (own === undefined) left.push(name);
    else tensors.set(own, value);
  }
  return { tensors, left };
}

/** The prefix of (nested) wrappers that most names share; on a tie the longest. */
function prefixOf(dict: Dict): string {
  const names = tensorNames(dict);
  const score = (prefix: string) => names.filter((name) => name.startsWith(prefix)).length;
  const found = [""];
  for (const prefix of found)
    for (const wrapper of wrappers) {
      const longer = prefix + wrapper;
      if (longer.length < longestPrefix && names.some((name) => name.startsWith(longer))) found.push(longer);
    }
  return found.reduce((top, one) => (score(one) >= score(top) ? one : top));
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
  const unread = at.map((one) => root.get(one)).find((dict) => dict instanceof Map && opaqueIn(dict)) as Dict;
  if (unread)
    return `its weights are objects of the class ${opaqueIn(unread)!.name}, which cannot be read; expected tensors, as saved by torch.save(model.state_dict(), ...)`;
  const orAtRoot = weights === "ema" ? "" : " or at the root";
  return `${asked} found: expected tensors under ${at.map((one) => `"${one}"`).join(", ")}${orAtRoot}, but ${keys}`;
}

const opaqueIn = (dict: Dict): Opaque | undefined =>
  [...dict.values()].find((value): value is Opaque => value instanceof Opaque);

/**
 * The state of distributed training between two rounds. The run's `round.json` names files in the shared folder, so a
 * killed command, when restarted on any machine, resumes the round.
 */

import { existsSync, readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { z } from "zod";
import type { ModelConfig } from "../config/model.ts";
import type { TrainingConfig } from "../config/training.ts";
import { UserError } from "../core/errors.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import type { TrainingState } from "../train/state.ts";
import { packed, packedLength, packedMoments, unpacked, unpackedMoments } from "../train/packed.ts";
import type { Store } from "./store.ts";

export const roundFile = "round.json";

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const schema = z.strictObject({
  /** Steps done. */
  step: z.int().min(0),
  area: z.string().regex(/^train-[\w-]+$/),
  values: hash,
  average: hash.optional(),
  /** Momentum of the outer step. */
  momentum: hash,
  /** The optimiser's state of each replica, once it has one; JSON has null for none. */
  states: z.array(hash.nullable().transform((state) => state ?? undefined)),
});
type StoredRound = z.infer<typeof schema>;

/** A training run between two rounds. */
export interface RoundState {
  area: string;
  /** [N] each. */
  values: Float32Array;
  momentum: Float32Array;
  states: readonly (string | undefined)[];
}

export const floatsOf = ({ buffer }: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> => new Float32Array(buffer);
export const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Reads `round.json`, or returns undefined if there is none. Throws a UserError if it is damaged. */
function readRound(path: string): StoredRound | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return schema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch (error) {
    throw new UserError(
      { subject: path, problem: "the file is damaged", hint: "remove it to resume from the last checkpoint" },
      { cause: error },
    );
  }
}

/** The state before the first round of a run that starts, or resumes from a checkpoint without `round.json`. */
export async function firstRound(
  store: Store,
  { model, training, state }: { model: ModelConfig; training: TrainingConfig; state: TrainingState },
): Promise<RoundState> {
  const area = `train-${randomBytes(8).toString("hex")}`;
  const count = packedLength(model);
  const residual = new Float32Array(training.differences === "float32" ? 0 : count);
  const begun =
    state.step > 0 ? await store.put(area, bytesOf(packedMoments(model, state.moments, residual))) : undefined;
  return {
    area,
    values: packed(model, state.values),
    momentum: new Float32Array(count),
    states: Array.from({ length: training.replicas }, () => begun),
  };
}

interface Resuming {
  model: ModelConfig;
  training: TrainingConfig;
  /** Updated, unless the result is undefined. */
  state: TrainingState;
  /** Called with a line for the user. */
  onNote: (line: string) => void;
}

/**
 * Resumes training where a command was killed or stopped, and updates its state. Undefined if `round.json` is missing or
 * does not fit the training, or if its files are missing, which a note reports.
 */
export async function resumedRound(
  store: Store,
  path: string,
  { model, training, state, onNote }: Resuming,
): Promise<RoundState | undefined> {
  const record = readRound(path);
  if (!record || record.step < state.step || record.states.length !== training.replicas) return undefined;
  const { area, states } = record;
  const named = [record.values, record.momentum, record.average, ...states].filter((one) => one !== undefined);
  const gone = named.find((hash) => !store.has(area, hash));
  if (gone !== undefined) {
    onNote(
      `the shared folder has no file ${gone} of ${path}, so training resumes from its last checkpoint, at step ${state.step}, without the outer momentum`,
    );
    return undefined;
  }
  const [values, momentum] = [await store.get(area, record.values), await store.get(area, record.momentum)];
  const average = record.average === undefined ? undefined : await store.get(area, record.average);
  const first = states[0] === undefined ? undefined : await store.get(area, states[0]);
  set(state.values, unpacked(model, floatsOf(values)));
  if (average) set(state.average, unpacked(model, floatsOf(average)));
  const count = training.differences === "float32" ? 0 : packedLength(model);
  if (first) setMoments(state, unpackedMoments(model, training, { all: floatsOf(first), count }).moments);
  state.step = record.step;
  return { area, values: floatsOf(values), momentum: floatsOf(momentum), states };
}

function set(into: Map<string, Float32Array>, values: ReadonlyMap<string, Float32Array>): void {
  for (const [name, value] of values) into.get(name)!.set(value);
}

/** Copies moments into the state. A checkpoint has those of the first replica. */
export function setMoments({ moments }: TrainingState, found: TrainingState["moments"]): void {
  for (const [name, { first, second }] of found) {
    moments.get(name)!.first.set(first);
    if (second) moments.get(name)!.second!.set(second);
  }
}

/** Writes the files of a finished round, then `round.json`; files of earlier rounds are removed. */
export async function saveRound(
  store: Store,
  path: string,
  { round, model, state }: { round: RoundState; model: ModelConfig; state: TrainingState },
): Promise<void> {
  const { area, values, momentum, states } = round;
  const record: StoredRound = {
    step: state.step,
    area,
    values: await store.put(area, bytesOf(values)),
    ...(state.average !== state.values && { average: await store.put(area, bytesOf(packed(model, state.average))) }),
    momentum: await store.put(area, bytesOf(momentum)),
    states: [...states],
  };
  await writeFileAtomic(path, `${JSON.stringify(record)}\n`);
  const used = [record.values, record.average, record.momentum, ...states].filter((one) => one !== undefined);
  await store.clear(area, { except: new Set(used) });
}

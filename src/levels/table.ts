/**
 * The table of level kinds. To add one, write a file like `ar.ts` and add a row here; a program can also register a kind
 * before it reads a configuration.
 */

import { ar } from "./ar.ts";
import type { LevelKind, PatchLevel, StepOutputs } from "./kind.ts";
import { mar } from "./mar.ts";

const rows = { mar, ar };

/** The kinds that ship. */
export type Kind = keyof typeof rows;

/** A row as the recursion sees it. Which settings its levels have is known only to the kind itself. */
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyKind = LevelKind<any>;

const kinds = new Map<string, AnyKind>(Object.entries(rows));

/**
 * Adds a kind, in this thread only. `parallelSampler` and `parallelTrainingStep` start threads that know just the kinds
 * that ship; use `createSampler` and `trainingStep` instead. Throws where the name is taken.
 */
export function registerLevelKind<L extends PatchLevel, Step extends StepOutputs>(kind: LevelKind<L, Step>): void {
  if (kinds.has(kind.name) || kind.name === "pixel") throw new Error(`there is a level kind "${kind.name}" already`);
  kinds.set(kind.name, kind);
}

export const levelKinds = (): AnyKind[] => [...kinds.values()];

/** The kind of a level of a parsed configuration. */
export function kindOf({ kind }: Pick<PatchLevel, "kind">): AnyKind {
  const found = kinds.get(kind);
  if (!found) throw new Error(`there is no level kind "${kind}"; register it (registerLevelKind)`);
  return found;
}

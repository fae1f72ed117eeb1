/**
 * The table of level kinds. To add one, write a file like `ar.ts` and add a row here; a program can also register a kind
 * before it reads a configuration.
 */

import { ar } from "./ar.ts";
import type { LevelKind, PatchLevel, StepOutputs } from "./kind.ts";
import { mar } from "./mar.ts";

/** The built-in kinds. */
export type Kind = "mar" | "ar";

const rows: Record<Kind, AnyKind> = { mar, ar };

/** Their names. */
export const builtInKinds = Object.keys(rows) as readonly Kind[];

/** A row as the recursion sees it. Only the kind itself knows which settings its levels have. */
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyKind = LevelKind<any>;

const kinds = new Map<string, AnyKind>(Object.entries(rows));

/**
 * Adds a kind, in this thread only. `parallelSampler` and `parallelTrainingStep` start threads that know only the
 * built-in kinds; use `createSampler` and `trainingStep` instead. Throws if the name is already registered.
 */
export function registerLevelKind<L extends PatchLevel, Step extends StepOutputs>(kind: LevelKind<L, Step>): void {
  if (kinds.has(kind.name) || kind.name === "pixel") throw new Error(`level kind "${kind.name}" is already registered`);
  kinds.set(kind.name, kind);
}

export const levelKinds = (): AnyKind[] => [...kinds.values()];

/** The kind of a level of a parsed configuration. */
export function kindOf({ kind }: Pick<PatchLevel, "kind">): AnyKind {
  const found = kinds.get(kind);
  if (!found) throw new Error(`unknown level kind "${kind}"; register it with registerLevelKind`);
  return found;
}

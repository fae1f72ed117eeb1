/**
 * The table of level kinds: one row for each. Another kind is a file like `ar.ts` and a row here, or one that a program
 * registers before it reads a configuration.
 */

import { ar } from "./ar.ts";
import type { LevelKind, PatchLevel, StepOutputs } from "./kind.ts";
import { mar } from "./mar.ts";

const rows = { mar, ar };

/** The kinds that ship. */
export type Kind = keyof typeof rows;

/** A row as the recursion sees it: what level it takes and what its step graph keeps are the kind's own business. */
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyKind = LevelKind<any>;

const kinds = new Map<string, AnyKind>(Object.entries(rows));

/**
 * Adds a kind. It is known in this thread alone: samplers and training steps that run in threads of their own know the
 * kinds that ship, so take `createSampler` and `trainingStep`.
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

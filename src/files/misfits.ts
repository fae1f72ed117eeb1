/** What keeps the tensors of a file from being those that are wanted. Knows nothing of models and file formats. */

import type { DType } from "../core/arrays.ts";
import { shown } from "../core/text.ts";
import { blockwise } from "./blockwise.ts";

/** By name, shape and type, which has to be float32: each kind of misfit in a few words, for a sentence; none where all fit. */
export function misfits(
  found: ReadonlyMap<string, { dtype: DType; shape: readonly number[] }>,
  wanted: readonly { name: string; shape: readonly number[] }[],
): string[] {
  const names = new Set(wanted.map(({ name }) => name));
  const sizes = (shape: readonly number[]) => `[${shape.join(", ")}]`; // of at most 32 sizes
  const shared = wanted.flatMap(({ name, shape }) => {
    const one = found.get(name);
    return one ? [{ name, shape: sizes(shape), found: sizes(one.shape), dtype: one.dtype }] : [];
  });
  const kinds: [what: string, of: string[]][] = [
    ["missing", [...names].filter((name) => !found.has(name))],
    ["unexpected", [...found.keys()].filter((name) => !names.has(name)).map((name) => shown(name))],
    [
      "of another shape",
      shared.filter((at) => at.shape !== at.found).map((at) => `${at.name} ${at.found} for ${at.shape}`),
    ],
    [
      "of another type than float32",
      shared.filter(({ dtype }) => dtype !== "float32").map(({ name, dtype }) => `${name} ${dtype}`),
    ],
  ];
  return kinds.filter(([, of]) => of.length > 0).map(([what, of]) => `${of.length} ${what} (${blockwise(of)})`);
}

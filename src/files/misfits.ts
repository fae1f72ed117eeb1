/** Compares the tensors of a file with the expected ones. Knows nothing of models and file formats. */

import type { DType } from "../core/arrays.ts";
import { shown } from "../core/text.ts";
import { blockwise } from "./blockwise.ts";

/**
 * Compares names, shapes and types (float32, or float64, which is rounded to it). Returns a phrase for each kind of mismatch, to be joined into a message;
 * none if everything matches.
 */
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
      "with the wrong shape",
      shared.filter((at) => at.shape !== at.found).map((at) => `${at.name} ${at.found} instead of ${at.shape}`),
    ],
    [
      "with a type other than float32",
      shared
        .filter(({ dtype }) => dtype !== "float32" && dtype !== "float64")
        .map(({ name, dtype }) => `${name} ${dtype}`),
    ],
  ];
  return kinds.filter(([, of]) => of.length > 0).map(([what, of]) => `${of.length} ${what} (${blockwise(of)})`);
}

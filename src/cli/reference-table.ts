/** The size of a data set under simple compression methods, as a baseline for a model. */

import type { ReferencePoint } from "../data/references.ts";

/** A name and its bits per dimension on each line. */
export function referenceTable(references: readonly ReferencePoint[]): string {
  const width = Math.max(...references.map(({ name }) => name.length));
  const lines = references.map(({ name, bits }) => `  ${name.padEnd(width)}  ${bits.toFixed(2)}`);
  return ["baselines for these images, in bits per dimension:", ...lines].join("\n");
}

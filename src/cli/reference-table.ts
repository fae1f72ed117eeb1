/** What simple methods take for a data set, as lines to compare a model with. */

import type { ReferencePoint } from "../data/references.ts";

/** A name and its bits per dimension on each line. */
export function referenceTable(references: readonly ReferencePoint[]): string {
  const width = Math.max(...references.map(({ name }) => name.length));
  const lines = references.map(({ name, bits }) => `  ${name.padEnd(width)}  ${bits.toFixed(2)}`);
  return ["what these images take in bits per dimension, to compare the model with:", ...lines].join("\n");
}

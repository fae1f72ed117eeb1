/** Tables on a terminal. */

/** Columns of one width each; the first `left` of them begin at the left, numbers end at the right. */
export function aligned(rows: readonly string[][], { left }: { left: number }): string[] {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i < left ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join("  ")
      .trimEnd(),
  );
}

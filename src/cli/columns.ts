/** Tables on a terminal. */

/** Pads each column to a uniform width. The first `left` columns are left-aligned, the others right-aligned. */
export function aligned(rows: readonly string[][], { left }: { left: number }): string[] {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i < left ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join("  ")
      .trimEnd(),
  );
}

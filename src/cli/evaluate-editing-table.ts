/** What `fractalgen evaluate editing` prints as a table. */

import type { Mean } from "../evaluate/summary.ts";
import type { EditingRow } from "../measures/editing.ts";

export function editingTable(
  {
    model,
    data,
    images,
    classes,
    exact,
    seed,
  }: { model: string; data: string; images: number; classes: boolean; exact: boolean; seed: number },
  rows: readonly EditingRow[],
): string {
  const line = (...cells: string[]) =>
    `  ${cells.map((cell, i) => cell.padEnd([24, 8, 16, 16, 16, 18, 0][i])).join("")}`.trimEnd();
  const ratio = ({ ratio, error }: { ratio: number; error: number }) => `${ratio.toFixed(2)} ± ${error.toFixed(2)}`;
  const bits = ({ bits, error }: Mean) => `${bits.toFixed(3)} ± ${error.toFixed(3)}`;
  return [
    `${model}: ${images} held-out images of ${data} edited ${classes ? "with their classes" : "without a class"}, seed ${seed}`,
    line("", "drawn", "seam", "original's", "to original's", "bits per dim", "original's"),
    ...rows.flatMap((row) => [
      line(
        row.ring === 0 ? row.task : `${row.task}, ring of ${row.ring}`,
        `${(100 * row.drawn).toFixed(0)}%`,
        ratio(row.seam),
        ratio(row.originalSeam),
        ratio(row.toOriginal),
        bits(row.bits),
        bits(row.originalBits),
      ),
      ...(row.atMask
        ? [
            line(
              "  at the mask's border",
              "",
              ratio(row.atMask.seam),
              ratio(row.atMask.originalSeam),
              ratio(row.atMask.toOriginal),
            ),
          ]
        : []),
    ]),
    "seam: mean difference between neighbours across the border of the redrawn region, relative to inside it; to original's: relative to the original's difference across the same border",
    `bits: of the redrawn region given the kept pixels${exact ? "" : ", in one random order, kept patches first, patch by patch"}`,
  ].join("\n");
}

/** What `fractalgen evaluate memorisation` prints as a table. */

import type { Closeness } from "../evaluate/nearest.ts";
import type { ImageSet } from "../measures/image-sets.ts";
import { type Compared, figure } from "../measures/memorisation.ts";
import { sizeLines, skippedLines } from "./set-lines.ts";

export function memorisationTable(
  {
    generated,
    imageSize,
    resized,
    data,
    trainingImages,
    features,
  }: {
    generated: string;
    imageSize: number;
    resized: { generated: number; data: number };
    data: string;
    trainingImages: number;
    features: { name: string };
  },
  compared: Record<string, Compared>,
  skipped: ImageSet["skipped"],
): string {
  const row = (name: string, cells: readonly string[]) =>
    `  ${name.padEnd(34)}${cells.map((cell) => cell.padEnd(20)).join("")}`.trimEnd();
  const sections = Object.entries(compared).flatMap(([measure, { generated, heldOut, nearerThanHeldOut }]) => {
    const both = (of: (one: Closeness) => string) => [of(generated), of(heldOut)];
    return [
      `  by ${measure === "pixels" ? "pixels (root mean squared difference, values from 0 to 1)" : features.name}`,
      row(
        "  closest",
        both(({ least }) => figure(least)),
      ),
      row(
        "  5th percentile",
        both(({ fifth }) => figure(fifth)),
      ),
      row(
        "  median",
        both(({ median }) => figure(median)),
      ),
      row(
        "  identical to a training image",
        both(({ copies }) => String(copies)),
      ),
      `    ${(100 * nearerThanHeldOut).toFixed(1)}% of the generated images are closer than 95% of the held-out ones; without memorisation this is about 5%`,
    ];
  });
  const [first] = Object.values(compared);
  return [
    `${generated}: distances to the nearest of ${trainingImages} training images of ${data}`,
    ...sizeLines(imageSize, [
      { name: generated, resized: resized.generated },
      { name: data, resized: resized.data },
    ]),
    row("", ["generated", "held-out images"]),
    row("images", [String(first.generated.images), String(first.heldOut.images)]),
    ...sections,
    ...skippedLines(skipped),
  ].join("\n");
}

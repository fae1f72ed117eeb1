/**
 * An architecture in the form of the published code's constructor arguments, as stored in the `case.json` of a parity
 * case.
 */

import { z } from "zod";
import { UserError } from "../core/errors.ts";
import { explain, type ModelConfig, parseModelConfig } from "./model.ts";

const schema = z.object({
  image_sizes: z.array(z.int()).min(2),
  widths: z.array(z.int()),
  depths: z.array(z.int()),
  heads: z.array(z.int()),
  generators: z.array(z.enum(["ar", "mar"])),
  guiding_pixel: z.boolean(),
  num_conds: z.int(),
  classes: z.int(),
  red_weight_train: z.number(),
});

/** Whether a value read from JSON is intended as such an architecture. */
export const isPublishedCase = (value: unknown): boolean =>
  typeof value === "object" && value !== null && "generators" in value;

/**
 * Converts it to a model configuration and ignores other keys. `source` names the value in errors. Throws a UserError.
 */
export function configOfCase(value: unknown, source: string): ModelConfig {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new UserError({ subject: source, problem: explain(parsed.error.issues[0]) });
  const { image_sizes, widths, depths, heads, generators, guiding_pixel, num_conds, classes, red_weight_train } =
    parsed.data;
  const levels = generators.map((generator, l) => {
    const transformer = { width: widths[l], depth: depths[l], heads: heads[l] };
    if (l === generators.length - 1) return { kind: "pixel", ...transformer };
    const patch = image_sizes[l + 1];
    return generator === "ar"
      ? { kind: "ar", patch, ...transformer }
      : { kind: "mar", patch, ...transformer, conditions: num_conds, guidingPixel: guiding_pixel && l > 0 };
  });
  return parseModelConfig(
    {
      imageSize: image_sizes[0],
      classes: Array.from({ length: classes }, (_, i) => `class ${i}`),
      levels,
      redWeight: red_weight_train,
    },
    source,
  );
}

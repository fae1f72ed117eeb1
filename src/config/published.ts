/** The paper's five models, with the architecture and sampling settings of its code. Knows no weights and no files. */

import { didYouMean, UserError } from "../core/errors.ts";
import { imagenetClasses } from "./imagenet-classes.ts";
import { type ModelConfig, parseModelConfig } from "./model.ts";
import type { Kind } from "../levels/table.ts";

export const publishedNames = [
  "fractalar_in64",
  "fractalmar_in64",
  "fractalmar_base_in256",
  "fractalmar_large_in256",
  "fractalmar_huge_in256",
] as const;
export type PublishedName = (typeof publishedNames)[number];

export const isPublished = (name: string): name is PublishedName => publishedNames.some((known) => known === name);

interface Published {
  kind: Kind;
  imageSize: number;
  /** From the first level to the pixels, as are depth and heads. */
  width: number[];
  depth: number[];
  heads: number[];
  /** The values with which the published code reaches its best FID, according to its README. */
  guidance: number;
  temperature: number;
}

/** The two 64x64 models differ only in the kind of their levels above the pixels. */
const in64 = { imageSize: 64, width: [1024, 512, 128], depth: [32, 8, 3], heads: [16, 8, 4] };
const in256 = { kind: "mar", imageSize: 256, temperature: 1.1 } as const;

const published: Record<PublishedName, Published> = {
  fractalar_in64: { ...in64, kind: "ar", guidance: 11, temperature: 1.03 },
  fractalmar_in64: { ...in64, kind: "mar", guidance: 6.5, temperature: 1.02 },
  fractalmar_base_in256: {
    ...in256,
    width: [768, 384, 192, 64],
    depth: [24, 6, 3, 1],
    heads: [12, 6, 3, 4],
    guidance: 29,
  },
  fractalmar_large_in256: {
    ...in256,
    width: [1024, 512, 256, 64],
    depth: [32, 8, 4, 1],
    heads: [16, 8, 4, 4],
    guidance: 21,
  },
  fractalmar_huge_in256: {
    ...in256,
    width: [1280, 640, 320, 64],
    depth: [40, 10, 5, 1],
    heads: [16, 8, 4, 4],
    guidance: 19,
  },
};

/**
 * The configuration of a published model, with its sampling settings as defaults. Throws a UserError for an unknown
 * name.
 */
export function publishedPreset(name: string): ModelConfig {
  if (!isPublished(name))
    throw new UserError({
      problem: `unknown published model "${name}"`,
      expected: `${publishedNames.join(", ")}${didYouMean(name, publishedNames)}`,
    });
  const { kind, imageSize, width, depth, heads, guidance, temperature } = published[name];
  const patches = imageSize === 64 ? [4, 1] : [16, 4, 1];
  const transformer = (l: number) => ({ width: width[l], depth: depth[l], heads: heads[l] });
  const levels = patches.map((patch, l) => ({
    kind,
    patch,
    ...transformer(l),
    ...(kind === "mar" ? { conditions: 5, guidingPixel: imageSize === 256 && l > 0 } : {}),
  }));
  return parseModelConfig(
    {
      name,
      imageSize,
      classes: imagenetClasses,
      levels: [...levels, { kind: "pixel", ...transformer(patches.length) }],
      sampling: {
        guidance,
        schedule: "linear",
        temperature,
        filterThreshold: 1e-4,
        iterations: [64, 16, 16].slice(0, patches.length),
      },
    },
    name,
  );
}

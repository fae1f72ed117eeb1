/**
 * Training recipes: the published trainer's settings, and the defaults of `fractalgen train`. docs/speedrun.md compares
 * them.
 */

import { kindOf } from "../levels/table.ts";
import type { ModelConfig, PatchLevel } from "./model.ts";
import type { TrainingConfig } from "./training.ts";

export interface Recipe {
  training: Partial<TrainingConfig>;
  model: Pick<ModelConfig, "redWeight">;
}

export const recipeNames = ["default", "published"] as const;
export type RecipeName = (typeof recipeNames)[number];

export const recipes: Record<RecipeName, (kind: PatchLevel["kind"]) => Recipe> = {
  published: () => ({ training: {}, model: { redWeight: 5 } }),
  default: (kind) => ({
    training: {
      optimizer: "muon",
      codebookStart: "cosine",
      // A level that hides no patches passes all of them down, and half of them are enough.
      ...(kindOf({ kind }).order.hides ? {} : { innerShare: [0.5] }),
    },
    model: { redWeight: 1 },
  }),
};

/**
 * Training recipes: the published trainer's settings, and the defaults of `fractalgen train`. docs/speedrun.md compares
 * them.
 */

import type { ModelConfig } from "./model.ts";
import type { TrainingConfig } from "./training.ts";

export interface Recipe {
  training: Partial<TrainingConfig>;
  model: Pick<ModelConfig, "redWeight">;
}

export const recipeNames = ["default", "published"] as const;
export type RecipeName = (typeof recipeNames)[number];

export const recipes: Record<RecipeName, Recipe> = {
  published: { training: {}, model: { redWeight: 5 } },
  default: {
    training: {
      optimizer: "muon",
      muonMomentum: 0.9,
      codebookStart: "cosine",
      innerShare: [0.25],
      schedule: "wsd",
      decayShare: 0.5,
    },
    model: { redWeight: 1 },
  },
};

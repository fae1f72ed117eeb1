/** Ready-made architectures with the training that suits them. */

import type { ModelConfig } from "./model.ts";
import type { TrainingConfig } from "./training.ts";

export interface Preset {
  model: Omit<ModelConfig, "classes">;
  training: Partial<TrainingConfig>;
}

/** The shipped emoji model: 3.1M parameters, 32x32, patches of 4x4, single pixels inside, then their channels. */
export const emojiPreset: Preset = {
  model: {
    name: "emoji",
    imageSize: 32,
    channels: 3,
    levels: [
      { kind: "mar", patch: 4, width: 192, depth: 6, heads: 6, conditions: 5, guidingPixel: false },
      { kind: "mar", patch: 1, width: 96, depth: 2, heads: 3, conditions: 5, guidingPixel: false },
      { kind: "pixel", width: 64, depth: 1, heads: 4 },
    ],
    redWeight: 5,
    sampling: { guidance: 3, schedule: "constant", temperature: 1.25, filterThreshold: 0.0001, iterations: [32, 16] },
  },
  training: {
    steps: 7400,
    batch: 16,
    microBatch: 8,
    learningRate: 0.0014,
    warmup: 100,
    balance: 1,
    ema: 0.999,
  },
};

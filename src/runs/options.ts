/** What a caller may say of a training run. */

import type { Kind, Size } from "../config/presets.ts";
import type { RecipeName } from "../config/recipes.ts";
import type { TrainingConfig } from "../config/training.ts";
import type { EmojiSet } from "../data/emoji-sets.ts";
import type { ModelFolder } from "../files/model.ts";

/** The settings of a new run, or what changes in one that is resumed; what is left out follows from the preset or the run. */
export interface RunOptions extends Partial<TrainingConfig> {
  /** `emoji`, or a path. */
  data?: string;
  /** A new run's folder, or that of a run to go on with: one of both. */
  out?: string;
  resume?: string;
  /** A model to fine-tune. */
  initFrom?: ModelFolder;
  imageSize?: number;
  channels?: number;
  /** A share, or a path. */
  heldOut?: string;
  group?: string;
  sets?: readonly EmojiSet[];
  skipSmall?: boolean;
  size?: Size;
  kind?: Kind;
  recipe?: RecipeName;
  /** A file with `model` and `training`, each as far as it differs from the preset. */
  config?: string;
  redWeight?: number;
  /** The same as `augment` with flip. */
  flip?: boolean;
  /** Steps as passes over the training images. */
  epochs?: number;
  /** A learning rate for 256 images a step. */
  blr?: number;
  /** Bytes that training may take: picks the micro-batch and checkpointing. */
  memory?: number;
}

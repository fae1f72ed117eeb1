/** The options of a training run. */

import type { PresetKind, Size } from "../config/presets.ts";
import type { RecipeName } from "../config/recipes.ts";
import type { TrainingConfig } from "../config/training.ts";
import type { EmojiSet } from "../data/emoji-sets.ts";
import type { ModelFolder } from "../files/model.ts";

/** The settings of a new run, or the changes to a resumed one. Omitted settings come from the preset or the run. */
export interface RunOptions extends Partial<TrainingConfig> {
  /** `emoji`, or a path. */
  data?: string;
  /** A new run's folder (`out`) or the folder of a run to resume (`resume`): exactly one of the two. */
  out?: string;
  resume?: string;
  /** Models to fine-tune: each tensor comes from the first one that has it. */
  initFrom?: readonly ModelFolder[];
  imageSize?: number;
  channels?: number;
  /** A fraction, or a path. */
  heldOut?: string;
  group?: string;
  sets?: readonly EmojiSet[];
  skipSmall?: boolean;
  /** Names for the classes, in the order of their labels. */
  classNames?: readonly string[];
  size?: Size;
  kind?: PresetKind;
  recipe?: RecipeName;
  /** A file with `model` and `training`, each listing what differs from the preset. */
  config?: string;
  redWeight?: number;
  /** The same as `augment` with flip. */
  flip?: boolean;
  /** The training length as passes over the training images. */
  epochs?: number;
  /** A learning rate for a batch of 256 images. */
  blr?: number;
  /** Memory limit in bytes; determines the micro-batch and gradient checkpointing. */
  memory?: number;
  /** Free memory in bytes of the GPU to train on; undefined on the CPU, or if it is unknown. */
  gpuMemory?: number;
}

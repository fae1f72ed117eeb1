/** The networks of a model, which declare all of its parameters: one for each level, its guiding pixel, and the pixels. */

import { type ModelConfig, pixelLevel, type PlacedLevel, placedLevels } from "../config/model.ts";
import { concat, embedding } from "../graph/build.ts";
import type { Tensor } from "../graph/tensor.ts";
import { declaring, type Parameter } from "../layers/parameters.ts";
import type { Network } from "../levels/kind.ts";
import { guidingPixelLevel, pixelNetwork, type PixelNetwork } from "../levels/pixel.ts";
import { kindOf } from "../levels/table.ts";

export interface LevelNetwork {
  level: PlacedLevel;
  network: Network;
  /** The network that predicts the mean colour of a square, if the level has a guiding pixel. */
  guidingPixel?: PixelNetwork;
}

export interface ModelNetworks {
  /** Embeds labels [R] int32 -> [R, D]; the number of classes is the label of the null class. */
  label(labels: Tensor): Tensor;
  levels: LevelNetwork[];
  pixels: PixelNetwork;
  /** In the order of the published state dict, by which its optimiser state is indexed. */
  parameters: Parameter[];
}

/** Builds the networks of a model. Every call creates new tensors, so build a graph from the networks of one call. */
export function networksOf(config: ModelConfig): ModelNetworks {
  const { classes, channels, levels } = config;
  const { width } = levels[0];
  const parameters: Parameter[] = [];
  const declare = (level: number, owner: Parameter["owner"]) =>
    declaring(parameters, { level, owner }, { prefix: "next_fractal.".repeat(level) });
  const forClasses = declare(0, "classes");
  const nullClass = forClasses("fake_latent", [1, width], "normal");
  const table = forClasses("class_emb.weight", [classes.length, width], "normal");
  const above = placedLevels(config).map((level, l): LevelNetwork => {
    const network = kindOf(level).network(declare(l, "level").within("generator."), level);
    const { guidingPixel, conditionWidth } = level;
    const guiding = declare(l, "guidingPixel").within("generator.guiding_pixel_loss.");
    return {
      level,
      network,
      guidingPixel: guidingPixel ? pixelNetwork(guiding, guidingPixelLevel, { channels, conditionWidth }) : undefined,
    };
  });
  const pixels = pixelNetwork(declare(above.length, "pixels"), pixelLevel(config), {
    channels,
    conditionWidth: above.at(-1)!.level.width,
  });
  return {
    label: (labels) => embedding(concat([table, nullClass], 0), labels),
    levels: above,
    pixels,
    parameters,
  };
}

/** Compares centre crops with Pillow's crops of the same images; every byte must match. */

import { join } from "node:path";
import { UserError } from "../core/errors.ts";
import { centerCrop, type Pixels } from "../data/crop.ts";
import type { Engine } from "../engine/engine.ts";
import { readSafetensorsHeader, readTensor } from "../files/safetensors.ts";
import { type Comparison, within } from "./compare.ts";

export interface RecordedCrop {
  name: string;
  image: Pixels;
  /** The side of the crop. */
  size: number;
  expected: Uint8Array;
}

/**
 * Reads the crops of a file: `N.input.u8` [H, W, C] bytes, and `N.sizeS.u8` [S, S, C] for any sizes S of any images N.
 */
export function readCrops(path: string): RecordedCrop[] {
  const file = readSafetensorsHeader(path);
  const results = [...file.tensors.keys()].filter((name) => !name.endsWith(".input.u8"));
  return results.map((name) => {
    const [, image, size] = /^(.+)\.size(\d+)\.u8$/.exec(name) ?? [];
    if (image === undefined)
      throw new UserError(`${path}: unexpected tensor "${name}"; expected only N.input.u8 and N.sizeS.u8`);
    const { dtype, shape, data } = readTensor(file, `${image}.input.u8`);
    if (dtype !== "uint8" || shape.length !== 3)
      throw new UserError(`${path}: ${image}.input.u8 is ${dtype} [${shape.join(", ")}], expected uint8 [H, W, C]`);
    return {
      name,
      image: { data: data as Uint8Array, height: shape[0], width: shape[1], channels: shape[2] },
      size: Number(size),
      expected: readTensor(file, name).data as Uint8Array,
    };
  });
}

/** Compares every crop in the folder's crop.safetensors. */
export const compareCrops = async (_: Engine, folder: string): Promise<Comparison[]> =>
  readCrops(join(folder, "crop.safetensors")).map(({ name, image, size, expected }) =>
    within(name, centerCrop(image, size).data, expected, 0),
  );

/** Models, data sets and feature networks by their hashes: shipped by a command, opened by a worker. */

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../core/errors.ts";
import { readDatasetFile, writeDatasetFile } from "../data/dataset-file.ts";
import type { Dataset } from "../data/dataset.ts";
import { configName, type ModelFolder, readModelFolder, weightsName } from "../files/model.ts";
import { temporaryName } from "../files/temporary.ts";
import type { DataName, ModelName } from "./jobs.ts";
import type { Store } from "./store.ts";

interface Stoppable {
  signal?: AbortSignal;
}

/** Copies a model into the shared folder, unless it exists there. */
export async function shipModel(
  store: Store,
  { folder, weights }: ModelFolder,
  options?: Stoppable,
): Promise<ModelName> {
  return {
    config: await store.addFile(join(folder, configName), options),
    weights: await store.addFile(weights.path, options),
  };
}

/** Puts models into the shared folder and remembers their names, so that none is read twice. */
export function modelShipper(store: Store): (model: ModelFolder) => Promise<ModelName> {
  const names = new Map<string, Promise<ModelName>>();
  return (model) => {
    const known = names.get(model.folder);
    if (known) return known;
    const name = shipModel(store, model);
    names.set(model.folder, name);
    name.catch(() => names.delete(model.folder)); // the next call tries again
    return name;
  };
}

/** Caches the two files of a network in one folder, and returns the folder. */
export async function cachedFolder(store: Store, { config, weights }: ModelName, options?: Stoppable): Promise<string> {
  const folder = join("queue", `${config.slice(0, 24)}-${weights.slice(0, 24)}`);
  const path = await store.cached(config, { folder, name: configName }, options);
  await store.cached(weights, { folder, name: weightsName }, options);
  return path.slice(0, -configName.length - 1);
}

/** A model by its hashes, from this machine's cache. */
export const cachedModel = async (store: Store, name: ModelName, options?: Stoppable): Promise<ModelFolder> =>
  readModelFolder(await cachedFolder(store, name, options));

/** Copies a data set into the shared folder, unless it exists there. */
export async function shipData(store: Store, dataset: Dataset, options?: Stoppable): Promise<DataName> {
  const { fingerprint, classes, groups, augmentable } = dataset;
  const key = createHash("sha256")
    .update(JSON.stringify([fingerprint, classes, groups, augmentable]))
    .digest("hex");
  const known = await store.recall<DataName>("index", key);
  if (known && existsSync(join(store.folder, "objects", known.file))) return known;
  // Its hash is only known once it is written.
  const temporary = temporaryName(join(store.folder, "objects", "data"));
  try {
    await writeDatasetFile(temporary, dataset);
    const name = { file: await store.addFile(temporary, options), fingerprint };
    await store.remember("index", key, name);
    return name;
  } finally {
    await rm(temporary, { force: true });
  }
}

/** A data set by its hash, from this machine's cache. */
export async function openData(store: Store, { file, fingerprint }: DataName, options?: Stoppable): Promise<Dataset> {
  const path = await store.cached(file, { folder: "queue", name: `${file.slice(0, 24)}.data` }, options);
  const dataset = readDatasetFile(path);
  // Tests and other sources may choose a fingerprint of another length; a file's is computed from its images.
  if (fingerprint.length === dataset.fingerprint.length && fingerprint !== dataset.fingerprint)
    throw new UserError({
      subject: path,
      problem: `the data set has the fingerprint ${dataset.fingerprint}`,
      expected: fingerprint,
    });
  return dataset;
}

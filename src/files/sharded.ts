/** Checkpoints in several files with an index, as Hugging Face stores them. Knows nothing of the formats of the files. */

import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { pathText, readRegular } from "./regular.ts";
import { type Checkpoint, isTensorRef, type TensorRef } from "./tensors.ts";

const mostShards = 1000;
const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** `model.safetensors.index.json` or `pytorch_model.bin.index.json`, itself or in a folder; undefined for other files. */
export async function indexOf(path: string): Promise<string | undefined> {
  const isIndex = (name: string) => /\.index\.json$/i.test(name);
  if (isIndex(path)) return path;
  const names = await readdir(path).catch((): string[] => []);
  const index = names.toSorted().find(isIndex);
  return index && join(path, index);
}

/** Opens all files that an index names, as one checkpoint. Throws a UserError for any fault; close it after use. */
export async function openSharded(path: string, openOne: (path: string) => Promise<Checkpoint>): Promise<Checkpoint> {
  const text = await readRegular(path, { most: limits.jsonBytes, what: "an index" });
  const weightMap = weightMapOf(path, text.toString("utf8"));
  const files = [...new Set(weightMap.values())];
  const strange = files.find((file) => file === "" || /[/\\]|^\.+$|\0/.test(file));
  if (strange !== undefined)
    throw new UserError({
      subject: pathText(path),
      problem: `it names the file "${shown(strange)}"`,
      expected: "files in its own folder",
    });
  if (files.length > mostShards)
    throw new UserError({
      subject: pathText(path),
      problem: `it names ${files.length} files`,
      expected: `at most ${mostShards}`,
    });
  const shards = new Map<string, Checkpoint>();
  const close = async () => {
    for (const shard of shards.values()) await shard.close();
  };
  const owners = new Map<TensorRef, Checkpoint>();
  const value = new Map<string, unknown>();
  try {
    for (const file of files) shards.set(file, await openOne(join(dirname(path), file)));
    for (const [name, file] of weightMap) {
      const shard = shards.get(file)!;
      const found: unknown = shard.value instanceof Map ? shard.value.get(name) : undefined;
      if (found === undefined)
        throw new UserError({
          subject: pathText(shard.path),
          problem: `it has no tensor "${shown(name)}", which the index expects in it`,
        });
      value.set(name, found);
      if (isTensorRef(found)) owners.set(found, shard);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    path,
    value,
    read: (ref) => owners.get(ref)!.read(ref),
    pieces: (ref) => owners.get(ref)!.pieces(ref),
    close,
  };
}

function weightMapOf(path: string, text: string): Map<string, string> {
  try {
    return new Map(Object.entries(indexSchema.parse(JSON.parse(text.replace(/^\uFEFF/, ""))).weight_map));
  } catch (error) {
    throw new UserError(
      {
        subject: pathText(path),
        problem: "not an index of a checkpoint",
        expected: 'JSON with "weight_map", from names of tensors to files',
      },
      { cause: error },
    );
  }
}

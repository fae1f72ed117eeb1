/** The features of a measure that is not yet done, cached batch by batch, so that it can resume after an interruption. */

import { createHash } from "node:crypto";
import { closeSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { float32, type HostTensor } from "../core/arrays.ts";
import type { FeatureNetwork } from "../evaluate/features.ts";
import { claim } from "../files/ownership.ts";

/** A cache of the features of image sets, so that an interrupted measure resumes. */
export interface KeptFeatures {
  /**
   * Wraps a network. As long as it gets the same images in the same batches as before, it returns the cached results; from the
   * first difference on it computes and caches them. `id` changes with the weights; `name` is the set's.
   */
  open(
    network: FeatureNetwork,
    names: { id: string; name: string; signal?: AbortSignal },
  ): Promise<
    FeatureNetwork & {
      /** Closes the cache file. */
      close(): Promise<void>;
    }
  >;
  /** Deletes the cache, when the measure is done. */
  forget(): void;
}

/**
 * Bytes of a record's header: SHA-256 of its images and of its numbers, the number of images, and the logits of each. A record that
 * does not match its hashes is recomputed.
 */
const headerBytes = 72;

const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();
const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) => new Uint8Array(buffer, byteOffset, byteLength);

/** Opens the cache of features in a folder. */
export function keptFeatures(cache: string): KeptFeatures {
  const paths: string[] = [];
  return {
    async open(network, { id, name, signal }) {
      const hash = sha256(Buffer.from(`${id} ${name}`)).toString("hex");
      const path = join(cache, `features-${hash.slice(0, 16)}.part`);
      const forgetful = { ...network, close: async () => {} };
      try {
        const owned = await claim(path, { signal });
        // Another process measures the same set and owns the cache, so this one works without it.
        if ("owner" in owned) return forgetful;
        const file = openSync(path, "a+");
        paths.push(path);
        const kept = remembering(network, file);
        return { ...kept, close: async () => (kept.close(), owned.release()) };
      } catch {
        signal?.throwIfAborted();
        return forgetful; // the cache cannot be written
      }
    },
    forget: () => paths.forEach((path) => rmSync(path, { force: true })),
  };
}

function remembering(network: FeatureNetwork, file: number): FeatureNetwork & { close(): void } {
  let at = 0;
  let known = true;
  let writes = true;
  let last: Promise<unknown> = Promise.resolve();

  /** The numbers of the next record, if it is complete and belongs to these images. */
  function recall(sum: Buffer, rows: number) {
    const header = Buffer.alloc(headerBytes);
    if (readSync(file, header, 0, headerBytes, at) < headerBytes || !header.subarray(0, 32).equals(sum))
      return undefined;
    const [count, classes] = [header.readUInt32LE(64), header.readUInt32LE(68)];
    if (count !== rows) return undefined;
    const values = new Float32Array(count * (network.width + classes));
    readSync(file, values, 0, values.byteLength, at + headerBytes);
    if (!header.subarray(32, 64).equals(sha256(bytesOf(values)))) return undefined;
    at += headerBytes + values.byteLength;
    const features = values.slice(0, count * network.width);
    return {
      features: float32(features, [count, network.width]),
      logits: float32(values.slice(features.length), [count, classes]),
    };
  }

  function keep(sum: Buffer, features: HostTensor<Float32Array>, logits: HostTensor<Float32Array>): void {
    const values = Buffer.concat([bytesOf(features.data), bytesOf(logits.data)]);
    const counts = Buffer.alloc(8);
    logits.shape.forEach((count, i) => counts.writeUInt32LE(count, 4 * i));
    try {
      writeSync(file, Buffer.concat([sum, sha256(values), counts, values]));
    } catch {
      writes = false; // a full disk does not stop the measure
    }
  }

  return {
    ...network,
    async run(images, options) {
      const sum = sha256(images.data as Uint8Array);
      if (known) {
        const found = recall(sum, images.shape[0]);
        if (found) return found;
        known = false;
        ftruncateSync(file, at);
      }
      const result = network.run(images, options);
      // Several batches may be computed at once; they are kept in their order.
      const kept = last.then(async () => {
        const { features, logits } = await result;
        if (writes) keep(sum, features, logits);
        return { features, logits };
      });
      last = kept;
      kept.catch(() => {}); // met by the caller
      return kept;
    },
    close: () => closeSync(file),
  };
}

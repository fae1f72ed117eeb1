/** Features that were computed before a measure was interrupted: kept in the cache, batch by batch, until it is done. */

import { createHash } from "node:crypto";
import { closeSync, ftruncateSync, mkdirSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { float32, type HostTensor } from "../core/arrays.ts";
import type { FeatureNetwork } from "../evaluate/features.ts";

export interface KeptFeatures {
  /**
   * The network, which answers with what is kept for as long as it is asked for the same images in the same batches, and
   * keeps what it computes from there on. `id` is another for other weights, `name` the set's.
   */
  open(network: FeatureNetwork, names: { id: string; name: string }): FeatureNetwork & { close(): void };
  /** The measure is done: nothing is kept any more. */
  forget(): void;
}

/** Of a record: the images' SHA-256, their number and the logits of each. */
const headerBytes = 40;

export function keptFeatures(cache: string): KeptFeatures {
  const paths: string[] = [];
  return {
    open(network, { id, name }) {
      mkdirSync(cache, { recursive: true });
      const hash = createHash("sha256").update(`${id} ${name}`).digest("hex");
      const path = join(cache, `features-${hash.slice(0, 16)}.part`);
      paths.push(path);
      return remembering(network, path);
    },
    forget: () => paths.forEach((path) => rmSync(path, { force: true })),
  };
}

function remembering(network: FeatureNetwork, path: string): FeatureNetwork & { close(): void } {
  const file = openSync(path, "a+");
  let at = 0;
  let known = true;
  let writes = true;

  /** A record's numbers, where the file has it whole and of these images. */
  function recall(sum: Buffer, rows: number) {
    const header = Buffer.alloc(headerBytes);
    if (readSync(file, header, 0, headerBytes, at) < headerBytes || !header.subarray(0, 32).equals(sum))
      return undefined;
    const [count, classes] = [header.readUInt32LE(32), header.readUInt32LE(36)];
    const values = new Float32Array(count * (network.width + classes));
    if (count !== rows || readSync(file, values, 0, values.byteLength, at + headerBytes) < values.byteLength)
      return undefined;
    at += headerBytes + values.byteLength;
    const features = values.slice(0, count * network.width);
    return {
      features: float32(features, [count, network.width]),
      logits: float32(values.slice(features.length), [count, classes]),
    };
  }

  function keep(sum: Buffer, features: HostTensor<Float32Array>, logits: HostTensor<Float32Array>): void {
    const [rows, classes] = logits.shape;
    const header = Buffer.alloc(headerBytes);
    sum.copy(header);
    header.writeUInt32LE(rows, 32);
    header.writeUInt32LE(classes, 36);
    try {
      for (const part of [header, features.data, logits.data])
        writeSync(file, new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
    } catch {
      writes = false; // a full disk is no reason to stop measuring
    }
  }

  return {
    ...network,
    async run(images) {
      const sum = createHash("sha256")
        .update(images.data as Uint8Array)
        .digest();
      if (known) {
        const found = recall(sum, images.shape[0]);
        if (found) return found;
        known = false;
        ftruncateSync(file, at);
      }
      const result = await network.run(images);
      if (writes) keep(sum, result.features, result.logits);
      return result;
    },
    close: () => closeSync(file),
  };
}

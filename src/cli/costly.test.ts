/** Small files that declare, or unpack to, far more than the program should spend on them. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { idx, npy, npz, put } from "../data/test-files.ts";
import { type Deflated, dict, pickle, tensor, withZeros, zip } from "../files/test-torch.ts";
import { firstOf, thorough } from "../test-depth.ts";
import { checkOutcome, config, Reader } from "./test-fuzz.ts";

const reader = new Reader();
afterAll(() => reader.close());

const gigabyte = 1e9;
const noBytes = new Uint8Array(0);

/** A gzip file of deflated bytes. */
function gzip({ data, length, crc }: Deflated): Buffer {
  const end = Buffer.alloc(8);
  end.writeInt32LE(crc, 0);
  end.writeUInt32LE(length % 2 ** 32, 4);
  return Buffer.concat([Buffer.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3), data, end]);
}

/** The header of a tar entry. */
function tarHeader(name: string, size: number): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write("0000644\0", 100);
  header.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  header.write("        ", 148);
  header.write("0ustar\0", 156);
  const sum = header.reduce((a, b) => a + b, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

const safetensors = (header: string): Buffer => {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, Buffer.from(header)]);
};

const labels = npy("<i8", [4], { values: new Uint8Array(32) });
const largeTensor = pickle(dict({ model: dict({ a: tensor({ elements: 1e9, shape: [1e9], stride: [1] }) }) }));

/** Files by name. */
const data: Record<string, () => Buffer> = {
  "unpacks.npz": () =>
    npz({ images: withZeros(npy("|u1", [2, 20_000, 20_000, 3], { values: noBytes }), 2.4 * gigabyte) }),
  "labels.npz": () =>
    npz({
      images: npy("|u1", [4, 5, 5, 3], { values: new Uint8Array(300) }),
      labels: withZeros(npy("<i8", [250e6], { values: noBytes }), 2 * gigabyte),
    }),
  "claims.npz": () => npz({ images: npy("<f8", [4, 10_000, 9000], { values: new Uint8Array(100) }), labels }),
  "claims more.npz": () => npz({ images: npy("|u1", [2 ** 40, 2 ** 10], { values: new Uint8Array(100) }), labels }),
  "train-images-idx3-ubyte": () => idx([60_000, 60_000, 60_000], []),
  "train-images-idx3-ubyte.gz": () => gzip(withZeros(idx([2, 30_000, 30_000], []), 1.8 * gigabyte)),
  "train-labels-idx1-ubyte.gz": () => gzipSync(gzipSync(gzip(withZeros(idx([2, 30_000, 30_000], []), 1.8 * gigabyte)))),
  "cifar.tar.gz": () => gzip(withZeros(tarHeader("a/data_batch_1.bin", 2e9), 2 * gigabyte)),
  "cifar-python.tar.gz": () => gzip(withZeros(tarHeader("a/data_batch_1", 2e9), 2 * gigabyte)),
};

/** Checkpoints by name. */
const checkpoints: Record<string, () => Buffer> = {
  "unpacks.pth": () => zip({ "x/data.pkl": largeTensor, "x/data/0": withZeros(noBytes, 4 * gigabyte - 2 ** 21) }),
  "pickle unpacks.pth": () => zip({ "x/data.pkl": withZeros(pickle(dict({})), 2 * gigabyte) }),
  "claims.pth": () => zip({ "x/data.pkl": largeTensor, "x/data/0": new Uint8Array(24) }),
  "strides.pth": () => {
    const strange = tensor({ elements: 6, shape: [2e9, 2e9], stride: [0, 0] });
    return zip({ "x/data.pkl": pickle(dict({ model: dict({ a: strange }) })), "x/data/0": new Uint8Array(24) });
  },
  "header.safetensors": () => Buffer.concat([Buffer.of(255, 255, 255, 255, 255, 255, 255, 127), Buffer.from("{}")]),
  "shape.safetensors": () =>
    safetensors(`{"a":{"dtype":"F32","shape":[9007199254740991,2],"data_offsets":[0,9007199254740991]}}`),
  "long header.safetensors": () => safetensors(`{"a":${" ".repeat(5e6)}{}}`),
  "names.safetensors": () => {
    const one = (i: number) => `"tensor.${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`;
    return safetensors(`{${Array.from({ length: 60_000 }, (_, i) => one(i)).join()}}`);
  },
};

/** Configurations by name. */
const configurations: Record<string, object> = {
  "200,000 classes": { ...config, classes: Array.from({ length: 200_000 }, (_, i) => `class ${i}`) },
  "a wide and deep level": {
    ...config,
    levels: [{ kind: "ar", patch: 1, width: 65_536, depth: 1024, heads: 1 }, config.levels[1]],
  },
  "a large image": { ...config, imageSize: 2 ** 20 },
  "many levels": { ...config, levels: Array(100_000).fill(config.levels[0]) },
};

/** Reads what `write` puts into a folder: it must be refused, at little cost. */
async function refused(write: (folder: string) => string[] | { data: string }): Promise<void> {
  const outcome = await reader.read({ pieces: [], write: (_, folder) => write(folder) }, []);
  checkOutcome(outcome);
  expect(outcome.code, outcome.text).toBe(2);
}

describe("costs little", { timeout: 120_000 }, () => {
  it.each(firstOf(Object.keys(data)))("data: %s", (name) =>
    refused((folder) => {
      writeFileSync(join(folder, name), data[name]());
      return { data: join(folder, name) };
    }),
  );

  it.runIf(thorough).each(Object.keys(checkpoints))("checkpoint: %s", (name) =>
    refused((folder) => {
      put(join(folder, name), checkpoints[name]());
      put(join(folder, "config.json"), JSON.stringify(config));
      return ["convert", join(folder, name), join(folder, "out"), "--config", join(folder, "config.json")];
    }),
  );

  it.each(firstOf(Object.keys(configurations)))("configuration: %s", (name) =>
    refused((folder) => {
      put(join(folder, "model", "config.json"), JSON.stringify(configurations[name]));
      put(join(folder, "model", "model.safetensors"), safetensors("{}"));
      return ["inspect", join(folder, "model")];
    }),
  );
});

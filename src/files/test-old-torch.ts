/** Makes checkpoints in the format of torch.save before PyTorch 1.6, for tests. */

import { dict, int, pickle, type Stored, tensor, text, tuple } from "./test-torch.ts";

/** Optional strides and offset in the storage; by default contiguous and from the start. */
export interface OldStored extends Stored {
  offset?: number;
  stride?: number[];
}

const elementBytes: Record<string, number> = { Float: 4, Int: 4, Long: 8 };

/** A state dict; every tensor has its own storage. */
export function oldCheckpointBytes(tensors: Record<string, OldStored>): Buffer {
  const all = Object.entries(tensors).map(([name, { type = "Float", shape, bytes, offset = 0, stride }], i) => {
    const contiguous = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
    const elements = bytes.length / elementBytes[type];
    const key = `9${i}`;
    const pickled = tensor({ type, key, elements, offset, shape: [...shape], stride: stride ?? contiguous });
    return { name, key, bytes, elements, pickled };
  });
  const count = (elements: number) => new Uint8Array(BigInt64Array.of(BigInt(elements)).buffer);
  return Buffer.concat([
    Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex"), // the number 0x1950a86a20f9469cfc6c
    pickle(Buffer.from("4de903", "hex")), // 1001
    pickle(dict({ protocol_version: int(1001), little_endian: Buffer.from([0x88]) })),
    pickle(dict(Object.fromEntries(all.map(({ name, pickled }) => [name, pickled])))),
    pickle(tuple(...all.map(({ key }) => text(key)))),
    ...all.flatMap(({ elements, bytes }) => [count(elements), bytes]),
  ]);
}

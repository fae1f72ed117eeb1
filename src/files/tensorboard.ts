/**
 * TensorBoard event files: scalars and images by step, appended record by record. Knows nothing of what tags mean. The
 * field numbers come from TensorFlow's event.proto and summary.proto.
 */

import { open, readdir } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import crc32c from "crc-32/crc32c.js";
import { UserError } from "../core/errors.ts";
import { makeFolder } from "./disk.ts";

export interface EventLog {
  /** The path of the event file. */
  readonly path: string;
  /** Writes one step's values by tag, as 32-bit floats. TensorBoard groups tags by the part before the slash. */
  scalars(step: number, values: Readonly<Record<string, number>>): Promise<void>;
  /** Writes a PNG file unchanged. */
  image(step: number, tag: string, png: Uint8Array): Promise<void>;
  /** Waits for pending writes and flushes them to the disk. */
  close(): Promise<void>;
}

export interface EventOptions {
  /** Steps done by the checkpoint that a run resumes from; undefined for a new run. */
  step?: number;
  /** Seconds since 1970. */
  wallTime?: () => number;
}

/**
 * Begins a new event file in `folder`. TensorBoard then drops the steps after `step` in earlier files, because they
 * will be written again; for a new run it drops all of them. Records are appended whole and in the order of the calls,
 * awaited or not. A kill leaves at most one truncated record at the end, which TensorBoard ignores. Throws a UserError
 * if it cannot write.
 */
export async function openEvents(
  folder: string,
  { step, wallTime = () => Date.now() / 1000 }: EventOptions = {},
): Promise<EventLog> {
  await makeFolder(folder);
  const { path, file } = await create(folder, Math.floor(wallTime()));
  let length = 0;
  let last: Promise<void> = Promise.resolve();

  /** Serialises writes: concurrent ones could interleave their bytes. */
  async function write(before: Promise<void>, records: Uint8Array): Promise<void> {
    await before;
    try {
      await file.appendFile(records);
      length += records.length;
    } catch (error) {
      // A truncated record in the middle would hide everything after it.
      await file.truncate(length).catch(() => {});
      throw cannotWrite(path, error);
    }
  }
  function append(...records: Uint8Array[]): Promise<void> {
    const written = write(last, Buffer.concat(records));
    last = written.catch(() => {});
    return written;
  }

  const event = (step: number, what: Uint8Array) =>
    record(Buffer.concat([double(1, wallTime()), integer(2, step), what]));
  try {
    // A START event drops its own and later steps of earlier files. TensorBoard's faster reader ignores it: there, a
    // tag's first new value drops that tag's old values from its step on.
    const again = step === undefined ? 0 : step + 1;
    await append(event(0, text(3, "brain.Event:2")), event(again, message(7, integer(1, sessionStart))));
  } catch (error) {
    await file.close();
    throw error;
  }

  return {
    path,
    async scalars(step, values) {
      // simple_value is the older of the two encodings of a number; every reader supports it.
      const entries = Object.entries(values).map(([tag, value]) => message(1, text(1, tag), float(2, value)));
      await append(event(step, message(5, ...entries)));
    },
    async image(step, tag, png) {
      const { width, height, colorspace } = pngHeader(png);
      const image = message(4, integer(1, height), integer(2, width), integer(3, colorspace), message(4, png));
      await append(event(step, message(5, message(1, text(1, tag), image))));
    },
    async close() {
      await last;
      try {
        await file.datasync();
      } catch (error) {
        throw cannotWrite(path, error);
      } finally {
        await file.close();
      }
    },
  };
}

/** SessionLog.SessionStatus.START */
const sessionStart = 1;

// Each encodes one field of a protobuf message. Nested messages and bytes are encoded as length and content.
const integer = (field: number, value: number) => new BinaryWriter().tag(field, WireType.Varint).int64(value).finish();
const double = (field: number, value: number) => new BinaryWriter().tag(field, WireType.Bit64).double(value).finish();
const float = (field: number, value: number) =>
  new BinaryWriter().tag(field, WireType.Bit32).float(Math.fround(value)).finish();
const text = (field: number, value: string) => message(field, new TextEncoder().encode(value));
const message = (field: number, ...parts: Uint8Array[]): Uint8Array =>
  new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(Buffer.concat(parts)).finish();

/**
 * TensorBoard reads a folder's files in the order of their names, so a new file is named after a later second than all
 * existing ones, whatever the clock says. The program's name replaces the usual host name, for privacy.
 */
async function create(folder: string, now: number): Promise<{ path: string; file: FileHandle }> {
  try {
    const seconds = (await readdir(folder)).map((name) =>
      Number(/^events\.out\.tfevents\.(\d+)\./.exec(name)?.[1] ?? -1),
    );
    const second = seconds.reduce((latest, other) => Math.max(latest, other + 1), now);
    const path = join(folder, `events.out.tfevents.${String(second).padStart(10, "0")}.fractalgen.${process.pid}`);
    return { path, file: await open(path, "ax") };
  } catch (error) {
    throw cannotWrite(folder, error);
  }
}

/** A TFRecord: length, its checksum, the bytes, their checksum. */
function record(bytes: Uint8Array): Uint8Array {
  const framed = Buffer.alloc(bytes.length + 16);
  framed.writeBigUInt64LE(BigInt(bytes.length));
  framed.writeUInt32LE(maskedChecksum(framed.subarray(0, 8)), 8);
  framed.set(bytes, 12);
  framed.writeUInt32LE(maskedChecksum(bytes), 12 + bytes.length);
  return framed;
}

/** A CRC over data that itself contains CRCs is weak, so the format rotates it by 15 bits and adds a constant. */
function maskedChecksum(bytes: Uint8Array): number {
  const crc = crc32c.buf(bytes); // signed
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Summary.Image.colorspace by PNG colour type: grey, RGB, palette (of RGB), grey with alpha, RGB with alpha. */
const colorspaces: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 3, 4: 2, 6: 4 };

function pngHeader(png: Uint8Array): { width: number; height: number; colorspace: number } {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  if (png.length < 33 || view.getBigUint64(0) !== 0x89504e470d0a1a0an)
    throw new Error("tensorboard: the bytes of an image are not a PNG file");
  return { width: view.getUint32(16), height: view.getUint32(20), colorspace: colorspaces[view.getUint8(25)] };
}

function cannotWrite(path: string, error: unknown): unknown {
  const system =
    error instanceof Error && "syscall" in error ? error.message.replace(/^\w+: |, \w+.*$/g, "") : undefined;
  if (!system) return error;
  return new UserError(
    {
      problem: `cannot write TensorBoard events to ${path}: ${system}`,
      hint: "free some space there or choose another folder",
    },
    { cause: error },
  );
}

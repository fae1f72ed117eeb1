/**
 * TensorBoard event files: scalars and pictures by step, appended record by record. Knows nothing of what tags mean.
 * Fields are those of TensorFlow's event.proto and summary.proto.
 */

import { open, readdir } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import crc32c from "crc-32/crc32c.js";
import { UserError } from "../core/errors.ts";
import { makeFolder } from "./disk.ts";

export interface EventLog {
  /** The file that is written. */
  readonly path: string;
  /** Values of one step by tag, kept as 32-bit floats; TensorBoard groups tags by what stands before their slash. */
  scalars(step: number, values: Readonly<Record<string, number>>): Promise<void>;
  /** A PNG file, stored as it is. */
  image(step: number, tag: string, png: Uint8Array): Promise<void>;
  /** Waits for what was written before and brings it to the disk. */
  close(): Promise<void>;
}

export interface EventOptions {
  /** Steps done by the checkpoint that a run goes on from; a new run has none. */
  step?: number;
  /** Seconds since 1970. */
  wallTime?: () => number;
}

/**
 * Begins a new event file in `folder`. What earlier files of the folder say of steps after `step` vanishes from
 * TensorBoard, as those steps come again; for a new run that is all of them. Every record is appended whole and in the
 * order of the calls, awaited or not: a kill leaves at most one cut record at the end, which TensorBoard passes over.
 * What keeps it from writing is a UserError.
 */
export async function openEvents(
  folder: string,
  { step, wallTime = () => Date.now() / 1000 }: EventOptions = {},
): Promise<EventLog> {
  await makeFolder(folder);
  const { path, file } = await create(folder, Math.floor(wallTime()));
  let length = 0;
  let last: Promise<void> = Promise.resolve();

  /** One after the other: two writes at a time may mix their bytes. */
  async function write(before: Promise<void>, records: Uint8Array): Promise<void> {
    await before;
    try {
      await file.appendFile(records);
      length += records.length;
    } catch (error) {
      // Half a record in the middle would hide all that comes after it.
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
    // A START drops what earlier files say of its own step and of later ones. TensorBoard's faster reader ignores it: there
    // a tag's first new value drops that tag's old ones from its step on.
    const again = step === undefined ? 0 : step + 1;
    await append(event(0, text(3, "brain.Event:2")), event(again, message(7, integer(1, sessionStart))));
  } catch (error) {
    await file.close();
    throw error;
  }

  return {
    path,
    async scalars(step, values) {
      // simple_value: of the two forms for a number the older one, which every reader knows.
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

// One field of a protobuf message each; a message inside, and bytes, are their length and content.
const integer = (field: number, value: number) => new BinaryWriter().tag(field, WireType.Varint).int64(value).finish();
const double = (field: number, value: number) => new BinaryWriter().tag(field, WireType.Bit64).double(value).finish();
const float = (field: number, value: number) =>
  new BinaryWriter().tag(field, WireType.Bit32).float(Math.fround(value)).finish();
const text = (field: number, value: string) => message(field, new TextEncoder().encode(value));
const message = (field: number, ...parts: Uint8Array[]): Uint8Array =>
  new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(Buffer.concat(parts)).finish();

/**
 * TensorBoard reads a folder's files by name, so a new one is named a later second than all that are there, whatever
 * the clock says. In the place of the machine's name, which is nobody's business, stands the program's.
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

/** Length, its checksum, the bytes, their checksum: a TFRecord. */
function record(bytes: Uint8Array): Uint8Array {
  const framed = Buffer.alloc(bytes.length + 16);
  framed.writeBigUInt64LE(BigInt(bytes.length));
  framed.writeUInt32LE(maskedChecksum(framed.subarray(0, 8)), 8);
  framed.set(bytes, 12);
  framed.writeUInt32LE(maskedChecksum(bytes), 12 + bytes.length);
  return framed;
}

/** The CRC of data that holds CRCs itself is weak, so the format turns it by 15 bits and adds a constant. */
function maskedChecksum(bytes: Uint8Array): number {
  const crc = crc32c.buf(bytes); // signed
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Summary.Image.colorspace by PNG's colour type: grey, RGB, palette (of RGB), grey with alpha, RGB with alpha. */
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
    `cannot write TensorBoard events to ${path}: ${system}; free some space there or choose another folder`,
    {
      cause: error,
    },
  );
}

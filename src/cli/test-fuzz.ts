/** Files of every format, to be damaged in tests, and a process that reads them. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { expect } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { product } from "../core/arrays.ts";
import { longestMessage } from "../core/text.ts";
import { idx, npy, npz, plain, put } from "../data/test-files.ts";
import { checkpointBytes, dict, pickle, tensor, zip } from "../files/test-torch.ts";
import { modelParameters } from "../model/parameters.ts";
import { builtUrl } from "../test-program.ts";

/** Pieces that are damaged one by one before they are assembled, so that the checksums around them stay valid. */
export interface Format {
  pieces: Buffer[];
  /** Writes the file or folder below `folder`. Returns the command that reads it, or the data to open. */
  write(pieces: Buffer[], folder: string): string[] | { data: string };
}

export const config = parseModelConfig(
  {
    imageSize: 4,
    classes: ["one", "two"],
    levels: [
      { kind: "ar", patch: 1, width: 4, depth: 1, heads: 1 },
      { kind: "pixel", width: 4, depth: 1, heads: 1 },
    ],
  },
  "the test",
);

const values = (count: number) => Uint8Array.from({ length: count }, (_, i) => (i * 37) % 251);

/** A file of images next to an undamaged one. */
const image = (name: string, bytes: Buffer, whole: Buffer): Format => ({
  pieces: [bytes],
  write([damaged], folder) {
    put(join(folder, "set", "whole.png"), whole);
    put(join(folder, "set", "other.png"), plainBytes);
    put(join(folder, "set", name), damaged);
    return { data: join(folder, "set") };
  },
});

const data = (name: string, pieces: Buffer[], join_: (pieces: Buffer[]) => Buffer | Promise<Buffer>) => ({
  pieces,
  name,
  join: join_,
});

let plainBytes: Buffer;

/** A small file of every format. */
export async function formats(): Promise<Record<string, Format>> {
  const parquet = (name: string) => readFileSync(new URL(`../../fixtures/data/${name}`, import.meta.url));
  const noise = (channels: number) =>
    plain(
      Array.from({ length: channels }, (_, i) => 50 * i + 20),
      { width: 12 },
    );
  plainBytes = await plain([9, 200, 3], { width: 12 }).png().toBuffer();
  const whole = await noise(3).png().toBuffer();
  const images: Record<string, Buffer> = {
    "a.png": whole,
    "b.png": await noise(4).png({ palette: true }).toBuffer(),
    "a.jpg": await noise(3).jpeg().toBuffer(),
    "b.jpg": await noise(3).jpeg({ progressive: true }).toBuffer(),
    "a.webp": await noise(3).webp().toBuffer(),
    "a.gif": await noise(3).gif().toBuffer(),
    "a.tif": await noise(3).tiff().toBuffer(),
  };
  const labels = npy("<i8", [4], { values: new Uint8Array(BigInt64Array.of(0n, 1n, 0n, 1n).buffer) });
  const pixels = npy("|u1", [4, 5, 5, 3], { values: values(300) });
  const floats = npy("<f4", [4, 3, 3], {
    values: new Uint8Array(Float32Array.from({ length: 36 }, (_, i) => i / 36).buffer),
  });
  const batch = Buffer.concat([0, 1, 2].flatMap((i) => [Buffer.of(i), Buffer.alloc(3072, 60 * i)]));
  const files = [
    data("train-images-idx3-ubyte", [idx([4, 5, 5], values(100))], ([one]) => one),
    data("train-images-idx3-ubyte.gz", [idx([4, 5, 5], values(100))], ([one]) => gzipSync(one)),
    data("packed.idx.gz", [gzipSync(idx([4, 5, 5], values(100)))], ([one]) => one),
    data("a.npz", [pixels, labels], ([arr_0, arr_1]) => npz({ arr_0, arr_1 })),
    data("packed.npz", [pixels, labels], ([images, y]) => npz({ images, y }, { deflate: true })),
    data("floats.npz", [floats], ([x]) => npz({ x })),
    data("outer.npz", [npz({ images: pixels, labels })], ([one]) => one),
    data("train.parquet", [parquet("train-00000-of-00002.parquet")], ([one]) => one),
    data("null.parquet", [parquet("field/null-label.parquet")], ([one]) => one),
    data("lz4.parquet", [parquet("field/lz4-null-path.parquet")], ([one]) => one),
    data("data_batch_1.bin", [batch], ([one]) => one),
    data("data_batch_1", [pickledBatch()], ([one]) => one),
    data("cifar.tar.gz", [await tar({ "a/data_batch_1.bin": batch })], ([one]) => gzipSync(one)),
  ];
  const found: Record<string, Format> = {};
  for (const { name, pieces, join: joined } of files)
    found[name] = {
      pieces,
      write(damaged, folder) {
        writeFileSync(join(folder, name), joined(damaged) as Buffer);
        return { data: join(folder, name) };
      },
    };
  for (const [name, bytes] of Object.entries(images)) found[name] = image(name, bytes, whole);
  return { ...found, ...models() };
}

/** Checkpoints and configurations. */
function models(): Record<string, Format> {
  const weights = modelParameters(config).map(({ name, shape }) => [
    name,
    { shape, bytes: new Uint8Array(4 * product(shape)) },
  ]);
  const convert = (bytes: Buffer, name: string, folder: string) => {
    put(join(folder, name), bytes);
    put(join(folder, "config.json"), JSON.stringify(config));
    return ["convert", join(folder, name), join(folder, "out"), "--config", join(folder, "config.json")];
  };
  const one = { elements: 6, shape: [6], stride: [1] };
  const tree = pickle(dict({ model: dict({ a: tensor(one), b: tensor({ ...one, shape: [2, 3], stride: [3, 1] }) }) }));
  const stored = new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer);
  const inFolder = (name: string) => (pieces: Buffer[], folder: string) => {
    const header = safetensorsOf(weights as never);
    put(join(folder, "model", "config.json"), JSON.stringify(config));
    put(join(folder, "model", "model.safetensors"), header);
    put(join(folder, "model", name), pieces[0]);
    return ["inspect", join(folder, "model")];
  };
  return {
    "whole.pth": {
      pieces: [checkpointBytes({ model: new Map(weights as never) })],
      write: ([bytes], folder) => convert(bytes, "a.pth", folder),
    },
    "pickle.pth": {
      pieces: [tree],
      write: ([bytes], folder) => convert(zip({ "x/data.pkl": bytes, "x/data/0": stored }), "a.pth", folder),
    },
    "packed.pth": {
      pieces: [tree],
      write: ([bytes], folder) =>
        convert(zip({ "x/data.pkl": bytes, "x/data/0": stored }, { deflate: true }), "a.pth", folder),
    },
    "a.safetensors": {
      pieces: [safetensorsOf(weights as never)],
      write: ([bytes], folder) => convert(bytes, "a.safetensors", folder),
    },
    "model.safetensors": { pieces: [safetensorsOf(weights as never)], write: inFolder("model.safetensors") },
    "config.json": { pieces: [Buffer.from(JSON.stringify(config))], write: inFolder("config.json") },
  };
}

function safetensorsOf(weights: [string, { shape: number[]; bytes: Uint8Array }][]): Buffer {
  let end = 0;
  const header = weights.map(([name, { shape, bytes }]) => {
    const start = end;
    end += bytes.length;
    return [name, { dtype: "F32", shape, data_offsets: [start, end] }];
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(end)]);
}

async function tar(files: Record<string, Buffer>): Promise<Buffer> {
  const packer = pack();
  for (const [name, content] of Object.entries(files)) packer.entry({ name }, content);
  packer.finalize();
  const pieces: Uint8Array[] = [];
  for await (const piece of packer) pieces.push(piece as Uint8Array);
  return Buffer.concat(pieces);
}

/** Two images and their labels, as NumPy pickles them. */
function pickledBatch(): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(6144);
  return Buffer.concat([
    Buffer.from(
      "\x80\x03}(X\x04\0\0\0datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tC\x01btR(K\x01(K\x02M\0\x0ct",
      "latin1",
    ),
    Buffer.from(
      "cnumpy\ndtype\n(X\x02\0\0\0u1K\0K\x01tR(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89B",
      "latin1",
    ),
    length,
    Buffer.concat([Buffer.alloc(3072, 77), Buffer.alloc(3072, 200)]),
    Buffer.from("tbX\x06\0\0\0labels](K\0K\x01eu.", "latin1"),
  ]);
}

/** The outcome of a read. */
export interface Outcome {
  code: number;
  /** The output. */
  text: string;
  /** CPU time of all threads. */
  seconds: number;
  /** The peak memory of the process. */
  megabytes: number;
}

// eslint-disable-next-line no-control-regex -- looks for control characters, which must not occur
const steering = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/;

/** The file was read, or refused in one sentence, within limits of time and memory. */
export function checkOutcome({ code, text, seconds: took, megabytes }: Outcome): void {
  expect([0, 2], text).toContain(code);
  expect(text).not.toMatch(steering);
  expect(text).not.toMatch(/^ {4}at /m);
  if (code === 2) {
    const sentences = text.split("\n").filter((line) => line.startsWith("error: "));
    expect(sentences.length, text).toBe(1);
    expect(sentences[0].length).toBeLessThanOrEqual("error: ".length + longestMessage);
  }
  expect(took, text).toBeLessThan(2);
  expect(megabytes, text).toBeLessThan(500);
}

const program = `
  const [run, mistakes, open] = await Promise.all(["cli/program", "cli/mistakes", "data/open"].map((at) => import(process.argv[1].replace("MODULE", at))));
  mistakes.showsControls();
  let text = "";
  const print = (line) => (text += line + "\\n");
  console.log = console.error = print;
  process.stdout.write = process.stderr.write = () => true;
  process.on("message", async ({ work, cache }) => {
    text = "";
    const before = process.cpuUsage();
    let code = 0;
    try {
      if (Array.isArray(work)) code = await run.run(work);
      else await open.openDataset(work.data, { cache });
    } catch (error) {
      code = mistakes.reported(error, { help: "" });
    }
    const { user, system } = process.cpuUsage(before);
    process.send({ code, text, seconds: (user + system) / 1e6, megabytes: process.resourceUsage().maxRSS / 1024 });
  });
  process.send("ready");
`;

/** Longer than any read takes, even on a busy machine. */
const patienceMs = 60_000;

/** A process of the built program that reads files one after another. */
export class Reader {
  #child?: ChildProcess;
  readonly folder = mkdtempSync(join(tmpdir(), "fractalgen-fuzz-"));

  /** Writes damaged pieces of a format and reads them. Throws if the process ends or does not answer. */
  async read(format: Format, pieces: Buffer[]): Promise<Outcome> {
    const place = join(this.folder, "case");
    rmSync(place, { recursive: true, force: true });
    mkdirSync(place);
    const work = format.write(pieces, place);
    const child = (this.#child ??= await started());
    const outcome = await answerOf(child, () => child.send({ work, cache: join(place, "cache") })).catch(
      (error: unknown) => {
        this.#restart();
        throw error;
      },
    );
    // Memory still in use from earlier cases must not count against the next.
    if ((outcome as Outcome).megabytes > 300) this.#restart();
    return outcome as Outcome;
  }

  #restart(): void {
    this.#child?.kill("SIGKILL");
    this.#child = undefined;
  }

  close(): void {
    this.#restart();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function started(): Promise<ChildProcess> {
  const args = ["--input-type=module", "--eval", program, builtUrl("MODULE")];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "ignore", "ipc"] });
  await answerOf(child, () => {});
  return child;
}

function answerOf(child: ChildProcess, ask: () => void): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const over = (why: string) => {
      stop();
      reject(new Error(why));
    };
    const timer = setTimeout(() => over(`no answer in ${patienceMs / 1000} s`), patienceMs);
    const answered = (value: unknown) => {
      stop();
      resolve(value);
    };
    const ended = (code: number | null, signal: string | null) => over(`the process ended with ${code ?? signal}`);
    const stop = () => {
      clearTimeout(timer);
      child.off("message", answered);
      child.off("exit", ended);
    };
    child.on("message", answered);
    child.on("exit", ended);
    ask();
  });
}

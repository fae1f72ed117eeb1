/** What is known of a GPU, and the rates of plain products and copies on it. */

import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { type DeviceTensor, float32 } from "../src/core/arrays.ts";
import type { Engine, Provider, Session } from "../src/engine/engine.ts";
import { freeGpuMemory } from "../src/files/gpu-memory.ts";
import { add, cast, constant, input, matmul, mul, slice } from "../src/graph/build.ts";
import { writeOnnx } from "../src/graph/onnx.ts";
import type { Tensor } from "../src/graph/tensor.ts";
import { vulkanDrivers } from "../src/parity/vulkan.ts";

/** GFLOP/s and GB/s (read plus written). */
export interface TypeRates {
  product: number;
  copy: number;
}
export interface Rates {
  float32: TypeRates | Problem;
  float16: TypeRates | Problem;
}

/** Why something was not measured. */
export interface Problem {
  problem: string;
}

/** The first line of an error, shortened. */
export const problemOf = (error: unknown): string => (error as Error).message.split("\n")[0].slice(0, 200);

/** The names of device and processor. onnxruntime does not say which GPU it uses, so the system's tools are asked. */
export function describeDevice(provider: Provider): { name: string; processor: string } {
  const [{ model = "unknown processor" } = {}] = cpus();
  const drivers = () => vulkanDrivers(process.env).map(({ name }) => name)[0] ?? "the system's default driver";
  const name = provider === "cpu" ? "the processor" : (nvidia() ?? drivers());
  return { name, processor: `${model}, ${cpus().length} threads` };
}

function nvidia(): string | undefined {
  if (process.env["VK_ICD_FILENAMES"]?.includes("swiftshader")) return undefined;
  const query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"];
  return said("nvidia-smi", query)?.trim();
}

/** What a program prints, or undefined if it is not installed or fails. */
function said(program: string, args: string[]): string | undefined {
  try {
    return execFileSync(program, args, { encoding: "utf8", timeout: 10_000, stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return undefined;
  }
}

/** The lines of vulkaninfo that say what a device can do at most. */
const limitNames = new Set([
  "deviceName",
  "driverInfo",
  "apiVersion",
  "maxStorageBufferRange",
  "maxMemoryAllocationSize",
  "maxBufferSize",
  "maxComputeSharedMemorySize",
  "maxComputeWorkGroupInvocations",
  "shaderFloat16",
  "storageBuffer16BitAccess",
]);

/** The limits of each device, as vulkaninfo prints them, or undefined if it is not installed. */
export function deviceLimits(): Record<string, string[]> | undefined {
  const text = said("vulkaninfo", []);
  return text === undefined ? undefined : limitsIn(text);
}

/** The values of each limit in vulkaninfo's text, one for each device. */
export function limitsIn(text: string): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const [, name, value] of text.matchAll(/^\s*(\w+)\s*=\s*(.+?)\s*$/gm))
    if (limitNames.has(name)) (found[name] ??= []).push(value);
  return found;
}

/**
 * The largest power of two of bytes, at most `most`, of a tensor that the device fills and reads to its end. Takes at most
 * half of its free memory, if that is known.
 */
export async function largestTensor(engine: Engine, most: number, goOn: () => boolean): Promise<number> {
  const within = Math.min(most, (freeGpuMemory() ?? Number.POSITIVE_INFINITY) / 2);
  let found = 0;
  for (let bytes = 2 ** 24; bytes <= within && goOn(); bytes *= 2) {
    const shape = [bytes / 4 / 1024, 1024];
    const x = input("x", "float32", shape);
    const last = slice(slice(x, 0, shape[0] - 1, shape[0]), 1, 1023, 1024);
    const read = (tensor: DeviceTensor) =>
      inSession(engine, { last }, async (session) => Number((await session.run({ x: tensor })).last.data[0]));
    const value = await onDevice(engine, "float32", shape, read).catch(() => 0);
    if (!(value > 0)) break;
    found = bytes;
  }
  return found;
}

/** The largest matrices and copies to try. */
export interface MostSizes {
  side: number;
  values: number;
}

/** The rates in both types, as far as `goOn` allows. */
export async function ratesOf(engine: Engine, most: MostSizes, goOn: () => boolean): Promise<Rates> {
  const rates = (dtype: "float32" | "float16") =>
    typeRates(engine, { dtype, most, goOn }).catch((error: unknown): Problem => ({ problem: problemOf(error) }));
  return { float32: await rates("float32"), float16: await rates("float16") };
}

/** Runs shorter than this, in milliseconds, say little about a fast device, and much longer ones take too long on a slow one. */
const enough = 300;

/** Eight in a row, all on the device; only one number comes back, which waits for the end. */
async function typeRates(
  engine: Engine,
  { dtype, most, goOn }: { dtype: "float32" | "float16"; most: MostSizes; goOn: () => boolean },
): Promise<TypeRates> {
  const chain = 8;
  const repeated = (x: Tensor, step: (x: Tensor) => Tensor) => Array.from({ length: chain }).reduce<Tensor>(step, x);
  const first = (x: Tensor) => cast(slice(slice(x, 0, 0, 1), 1, 0, 1), "float32");
  const bytes = dtype === "float32" ? 4 : 2;
  const half = cast(constant(float32([0.5], [])), dtype);

  /** Milliseconds of a run after a warm-up: the first one if it is long enough, otherwise the best of three. */
  const measure = (shape: number[], graph: (x: Tensor) => Tensor): Promise<number> =>
    onDevice(engine, dtype, shape, (x) =>
      inSession(engine, { y: first(graph(input("x", dtype, shape))) }, async (session) => {
        let best = Number.POSITIVE_INFINITY;
        for (let round = 0; round < 4 && (round < 2 || (best < enough && goOn())); round++) {
          const started = performance.now();
          await session.run({ x });
          if (round > 0) best = Math.min(best, performance.now() - started);
        }
        return best;
      }),
    );

  /** Work per nanosecond at the largest size from `from` to `to` that is reached before a run takes long enough. */
  async function rate(
    { from, to }: { from: number; to: number },
    { work, run }: { work: (size: number) => number; run: (size: number) => Promise<number> },
  ): Promise<number> {
    let found = 0;
    for (let size = from; size <= to; size *= 2) {
      if (found > 0 && !goOn()) break;
      try {
        const milliseconds = await run(size);
        found = work(size) / milliseconds / 1e6;
        if (milliseconds >= enough) break;
      } catch (error) {
        if (found === 0) throw error;
        break; // too large for this device
      }
    }
    return found;
  }

  const product = await rate(
    { from: 256, to: most.side },
    {
      work: (side) => chain * 2 * side ** 3,
      run: (side) => measure([side, side], (x) => repeated(x, (y: Tensor) => matmul(y, x))),
    },
  );
  const copy = await rate(
    { from: 2 ** 20, to: most.values },
    {
      work: (values) => chain * 2 * bytes * values,
      run: (values) => measure([values / 1024, 1024], (x) => repeated(x, (y: Tensor) => mul(y, half))),
    },
  );
  return { product, copy };
}

/** Calls `use` with a session of a graph. */
async function inSession<T>(
  engine: Engine,
  graph: Record<string, Tensor>,
  use: (session: Session) => Promise<T>,
  options?: Parameters<Engine["session"]>[1],
): Promise<T> {
  const session = await engine.session(writeOnnx(graph), options);
  try {
    return await use(session);
  } finally {
    await session.dispose();
  }
}

/** Calls `use` with a tensor of small values in the device's memory, which belongs to the session that made it. */
function onDevice<T>(
  engine: Engine,
  dtype: "float32" | "float16",
  shape: number[],
  use: (tensor: DeviceTensor) => Promise<T>,
): Promise<T> {
  const row = input("row", "float32", [1, shape[1]]);
  const filled = cast(add(input("column", "float32", [shape[0], 1]), row), dtype);
  const values = (n: number, s: number[]) => float32(new Float32Array(n).fill(1 / 64 / Math.sqrt(n)), s);
  const feeds = { row: values(shape[1], [1, shape[1]]), column: values(shape[0], [shape[0], 1]) };
  return inSession(
    engine,
    { filled },
    async (session) => {
      const { kept } = await session.runKept(feeds);
      try {
        return await use(kept.filled);
      } finally {
        kept.filled.dispose();
      }
    },
    { keep: () => true },
  );
}

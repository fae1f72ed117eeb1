/** What is known of a GPU, and the rates of plain products and copies on it. */

import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { type DeviceTensor, float32 } from "../src/core/arrays.ts";
import type { Engine } from "../src/engine/engine.ts";
import { add, cast, constant, input, matmul, mul, slice } from "../src/graph/build.ts";
import { writeOnnx } from "../src/graph/onnx.ts";
import type { Tensor } from "../src/graph/tensor.ts";
import { vulkanDrivers } from "../src/parity/vulkan.ts";

/** GFLOP/s and GB/s (read plus written). */
interface TypeRates {
  product: number;
  copy: number;
}
export interface Rates {
  float32: TypeRates;
  float16: TypeRates | { problem: string };
}

/** The names of GPU and processor. onnxruntime does not say which GPU it uses, so the system's tools are asked. */
export function describeDevice(): { name: string; processor: string } {
  const [{ model = "unknown processor" } = {}] = cpus();
  const drivers = () => vulkanDrivers(process.env).map(({ name }) => name)[0] ?? "the system's default driver";
  return { name: nvidia() ?? drivers(), processor: `${model}, ${cpus().length} threads` };
}

function nvidia(): string | undefined {
  if (process.env["VK_ICD_FILENAMES"]?.includes("swiftshader")) return undefined;
  try {
    const query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"];
    return execFileSync("nvidia-smi", query, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return undefined; // no NVIDIA driver
  }
}

/** The largest power of two of bytes, at most `most`, of a tensor that the device fills and reads to its end. */
export async function largestTensor(engine: Engine, most: number): Promise<number> {
  let found = 0;
  for (let bytes = 2 ** 24; bytes <= most; bytes *= 2) {
    const shape = [bytes / 4 / 1024, 1024];
    try {
      const x = await onDevice(engine, "float32", shape);
      const last = slice(slice(input("x", "float32", shape), 0, shape[0] - 1, shape[0]), 1, 1023, 1024);
      const session = await engine.session(writeOnnx({ last }));
      const value = Number((await session.run({ x: x.tensor })).last.data[0]);
      await session.dispose();
      await x.dispose();
      if (!(value > 0)) break;
    } catch {
      break;
    }
    found = bytes;
  }
  return found;
}

/** The rates in both types: products of `side` x `side` matrices, and copies of `values` numbers. */
export async function ratesOf(engine: Engine, sizes: { side: number; values: number }): Promise<Rates> {
  const plain = await typeRates(engine, "float32", sizes);
  const float16 = await typeRates(engine, "float16", sizes).catch((error: Error) => ({
    problem: error.message.split("\n")[0].slice(0, 200),
  }));
  return { float32: plain, float16 };
}

/** Eight in a row, all on the device; only one number comes back, which waits for the end. The best of three runs. */
async function typeRates(
  engine: Engine,
  dtype: "float32" | "float16",
  { side, values }: { side: number; values: number },
): Promise<TypeRates> {
  const chain = 8;
  const repeated = (x: Tensor, step: (x: Tensor) => Tensor) => Array.from({ length: chain }).reduce<Tensor>(step, x);
  const first = (x: Tensor) => cast(slice(slice(x, 0, 0, 1), 1, 0, 1), "float32");
  const measure = async (shape: number[], graph: (x: Tensor) => Tensor, work: number): Promise<number> => {
    const x = await onDevice(engine, dtype, shape);
    const session = await engine.session(writeOnnx({ y: first(graph(input("x", dtype, shape))) }));
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 4; round++) {
      const started = performance.now();
      await session.run({ x: x.tensor });
      if (round > 0) best = Math.min(best, performance.now() - started);
    }
    await session.dispose();
    await x.dispose();
    return work / best / 1e6;
  };
  const square = [side, side];
  const product = await measure(square, (x) => repeated(x, (y: Tensor) => matmul(y, x)), chain * 2 * side ** 3);
  const bytes = dtype === "float32" ? 4 : 2;
  const half = cast(constant(float32([0.5], [])), dtype);
  const copy = await measure(
    [values / 1024, 1024],
    (x) => repeated(x, (y: Tensor) => mul(y, half)),
    chain * 2 * bytes * values,
  );
  return { product, copy };
}

/** A tensor of small values in the device's memory. */
async function onDevice(
  engine: Engine,
  dtype: "float32" | "float16",
  shape: number[],
): Promise<{ tensor: DeviceTensor; dispose(): Promise<void> }> {
  const row = input("row", "float32", [1, shape[1]]);
  const filled = cast(add(input("column", "float32", [shape[0], 1]), row), dtype);
  const session = await engine.session(writeOnnx({ filled }), { keep: () => true });
  const values = (n: number, s: number[]) => float32(new Float32Array(n).fill(1 / 64 / Math.sqrt(n)), s);
  const { kept } = await session.runKept({
    row: values(shape[1], [1, shape[1]]),
    column: values(shape[0], [shape[0], 1]),
  });
  const { filled: tensor } = kept;
  // The tensor's memory belongs to its session, which therefore stays open as long.
  const dispose = async () => {
    tensor.dispose();
    await session.dispose();
  };
  return { tensor, dispose };
}

/** Matrix products in float64 on an engine: rows of features, and blocks of all their pairs. */

import type { HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import type { Engine } from "../engine/engine.ts";
import { cast, input, matmul } from "../graph/build.ts";
import { writeOnnx } from "../graph/onnx.ts";

/** One row for each image: [N, D]. */
export type Features = HostTensor<Float32Array | Float64Array>;

/** Rows of a block. A product of two blocks has 8 MB, large enough for full speed. */
const blockRows = 1024;

/** a · b, optionally transposed. Float64 runs on the CPU, whatever the engine's provider. */
export async function multiply(
  engine: Engine,
  { a, b, transA = false, transB = false }: { a: Features; b: Features; transA?: boolean; transB?: boolean },
): Promise<Float64Array> {
  const left = input("a", a.dtype, transA ? ["K", "M"] : ["M", "K"]);
  const right = input("b", b.dtype, transB ? ["N", "K"] : ["K", "N"]);
  const product = matmul(cast(left, "float64"), cast(right, "float64"), { transA, transB });
  const session = await engine.session(writeOnnx({ product }), { keepMemory: false });
  try {
    return (await session.run({ a, b })).product.data as Float64Array;
  } finally {
    await session.dispose();
  }
}

export const float64 = (data: Float64Array, shape: readonly number[]): Features => ({ dtype: "float64", shape, data });

/** Rows start .. end - 1, without a copy. */
export function rowsOf({ dtype, shape: [count, width], data }: Features, start: number, end: number): Features {
  const stop = Math.min(end, count);
  return { dtype, shape: [stop - start, width], data: data.subarray(start * width, stop * width) };
}

/** Inner products of the rows from `row` on of one set and from `column` on of another: `products` [rows, columns]. */
export interface Block {
  row: number;
  rows: number;
  column: number;
  columns: number;
  products: Float64Array;
}

/** All inner products of two sets' rows, block by block. If both are the same object, blocks below the diagonal are skipped. */
export async function* blocks(
  engine: Engine,
  { a, b }: { a: Features; b: Features },
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<Block> {
  for (let row = 0; row < a.shape[0]; row += blockRows)
    for (let column = a === b ? row : 0; column < b.shape[0]; column += blockRows) {
      signal?.throwIfAborted();
      const [one, other] = [rowsOf(a, row, row + blockRows), rowsOf(b, column, column + blockRows)];
      const products = await multiply(engine, { a: one, b: other, transB: true });
      yield { row, rows: one.shape[0], column, columns: other.shape[0], products };
    }
}

/** Calls `take` with the numbers of both rows and their squared distance, |a|² + |b|² - 2 a·b. */
export function eachDistance(
  { row, rows, column, columns, products }: Block,
  { squaresA, squaresB }: { squaresA: Float64Array; squaresB: Float64Array },
  take: (i: number, j: number, distance: number) => void,
): void {
  for (let i = row, at = 0; i < row + rows; i++)
    for (let j = column; j < column + columns; j++, at++) {
      const squares = squaresA[i] + squaresB[j];
      const distance = squares - 2 * products[at];
      take(i, j, distance > 1e-12 * squares ? distance : 0); // equal images, up to rounding
    }
}

/** The squared length of every row. */
export const squaresOf = ({ shape: [count, width], data }: Features): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => {
    let sum = 0;
    for (let at = i * width; at < (i + 1) * width; at++) sum += data[at] ** 2;
    return sum;
  });

/** UserError for features that are not a table of finite numbers, or of too few images. `metric` begins the message; `name` is the set's. */
export function checkFeatures(
  { shape, data }: Features,
  { metric, name, least }: { metric: string; name: string; least: number },
): void {
  if (shape.length !== 2 || shape[1] === 0)
    throw new UserError({
      subject: metric,
      problem: `${name} has the shape [${shape.join(", ")}]`,
      expected: "[images, dimensions]",
    });
  if (shape[0] < least)
    throw new UserError({ subject: metric, problem: `at least ${least} images are needed, ${name} has ${shape[0]}` });
  const wrong = data.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0)
    throw new UserError({
      subject: metric,
      problem: `${name} has ${data[wrong]} for image ${Math.floor(wrong / shape[1])}, not a number`,
    });
}

/** UserError for sets of different dimensions. */
export function checkDimensions(metric: string, generated: number, reference: number): void {
  if (generated !== reference)
    throw new UserError({
      subject: metric,
      problem: `the generated images have ${generated} dimensions but the reference ${reference}`,
      hint: "use the same features for both",
    });
}

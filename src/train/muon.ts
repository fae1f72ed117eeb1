/**
 * Muon (Jordan et al. 2024, github.com/KellerJordan/Muon): the update of a matrix is its Nesterov momentum,
 * approximately orthogonalised by five Newton-Schulz iterations. Matrices of equal shape are processed as one batch.
 */

import { float32 } from "../core/arrays.ts";
import type { TrainingConfig } from "../config/training.ts";
import type { Engine } from "../engine/engine.ts";
import { add, constant, div, input, matmul, mul, sqrt, sum, transpose } from "../graph/build.ts";
import { writeOnnx } from "../graph/onnx.ts";
import type { Tensor } from "../graph/tensor.ts";
import { decays, muonMatrices, type Parameter } from "../model/parameters.ts";
import type { OptimizerState, OptimizerStep } from "./optimizer-step.ts";

/** The published coefficients: five iterations bring singular values in (0, 1] close to 1, between 0.7 and 1.2. */
const [a, b, c] = [3.4445, -4.775, 2.0315];
const rounds = 5;

/**
 * The nearest orthogonal matrices, approximately: x [n, R, C] -> [n, R, C] with R <= C. Each iteration computes A = X
 * X', then X <- a X + (b A + c A A) X, starting from X divided by its norm.
 */
export function orthogonalized(x: Tensor): Tensor {
  const norm = sqrt(sum(mul(x, x), [1, 2], { keep: true }));
  const scaled = div(x, add(norm, 1e-7));
  const [, rows, columns] = x.shape as number[];
  return columns >= 2 * rows ? iteratedGrams(scaled, rows) : iterated(scaled);
}

function iterated(x: Tensor): Tensor {
  let next = x;
  for (let round = 0; round < rounds; round++) {
    const gram = matmul(next, next, { transB: true }); // [n, R, R]
    const polynomial = add(mul(gram, b), mul(matmul(gram, gram), c));
    next = add(mul(next, a), matmul(polynomial, next));
  }
  return next;
}

/**
 * The same for wide matrices with fewer operations. An iteration multiplies X by a polynomial of A from the left, so the
 * next A follows from A alone, and X is needed only at the beginning and at the end.
 */
function iteratedGrams(x: Tensor, rows: number): Tensor {
  const identity = constant(
    float32(
      Float32Array.from({ length: rows ** 2 }, (_, i) => Number(i % (rows + 1) === 0)),
      [1, rows, rows],
    ),
  );
  let gram = matmul(x, x, { transB: true });
  let product: Tensor | undefined;
  for (let round = 0; round < rounds; round++) {
    const polynomial = add(mul(identity, a), add(mul(gram, b), mul(matmul(gram, gram), c)));
    product = product ? matmul(polynomial, product) : polynomial;
    if (round < rounds - 1) gram = matmul(matmul(polynomial, gram), polynomial);
  }
  return matmul(product!, x);
}

/** The same for matrices of any shape: iterates on the transpose if R > C. */
export const orthogonalizedAny = (x: Tensor): Tensor =>
  (x.shape[1] as number) <= (x.shape[2] as number)
    ? orthogonalized(x)
    : transpose(orthogonalized(transpose(x, [0, 2, 1])), [0, 2, 1]);

/** The factor that gives updates the size of AdamW's (see `openMuon`). */
export const muonScale = (rows: number, columns: number): number => 0.2 * Math.sqrt(Math.max(rows, columns));

/** The location of a matrix: in a parameter, starting at `offset`. */
interface Place {
  parameter: Parameter;
  offset: number;
}

/** All matrices of one shape. */
interface MatrixBatch {
  rows: number;
  columns: number;
  places: Place[];
  momenta: Float32Array;
  updates: Float32Array;
}

/** Groups all matrices into batches of equal shape. */
function batchesOf(parameters: readonly Parameter[]): MatrixBatch[] {
  const batches = new Map<string, { rows: number; columns: number; places: Place[] }>();
  for (const parameter of parameters) {
    const parts = muonMatrices(parameter);
    const [height, columns] = parameter.shape;
    const rows = height / parts;
    const key = `${rows}x${columns}`;
    const batch = batches.get(key) ?? { rows, columns, places: [] };
    for (let part = 0; part < parts; part++) batch.places.push({ parameter, offset: part * rows * columns });
    batches.set(key, batch);
  }
  return [...batches.values()].map((batch) => {
    const size = batch.rows * batch.columns * batch.places.length;
    return { ...batch, momenta: new Float32Array(size), updates: new Float32Array(size) };
  });
}

/** The graph that orthogonalises the momenta of these matrices, all of one shape at once. */
const graphOf = (batches: readonly MatrixBatch[]): Record<string, Tensor> =>
  Object.fromEntries(
    batches.map(({ rows, columns, places }, i) => [
      `update.${i}`,
      orthogonalizedAny(input(`momentum.${i}`, "float32", [places.length, rows, columns])),
    ]),
  );

/** The graph of `openMuon`, to count its operations and bytes. */
export const muonGraph = (parameters: readonly Parameter[]): Record<string, Tensor> => graphOf(batchesOf(parameters));

export interface Muon {
  /** Updates all matrices in place. */
  update(
    state: OptimizerState,
    gradients: ReadonlyMap<string, Float32Array>,
    step: Pick<OptimizerStep, "learningRate" | "scale">,
  ): Promise<void>;
  dispose(): Promise<void>;
}

/**
 * Updates are scaled by 0.2 sqrt(max(rows, columns)), which gives them the size of AdamW's updates, so that its
 * learning rates and weight decay carry over (Liu et al. 2025, arXiv 2502.16982).
 */
export async function openMuon(
  engine: Engine,
  parameters: readonly Parameter[],
  { muonMomentum, weightDecay }: Pick<TrainingConfig, "muonMomentum" | "weightDecay">,
): Promise<Muon> {
  const batches = batchesOf(parameters);
  const session = await engine.session(writeOnnx(graphOf(batches)));
  return {
    async update({ values, moments }, gradients, { learningRate, scale }) {
      for (const { rows, columns, places, momenta } of batches)
        places.forEach(({ parameter: { name }, offset }, i) => {
          const size = rows * columns;
          const momentum = moments.get(name)!.first.subarray(offset, offset + size);
          const gradient = gradients.get(name)!.subarray(offset, offset + size);
          const out = momenta.subarray(i * size, (i + 1) * size);
          for (let at = 0; at < size; at++) {
            const g = gradient[at] * scale;
            const m = muonMomentum * momentum[at] + (1 - muonMomentum) * g;
            momentum[at] = m;
            out[at] = muonMomentum * m + (1 - muonMomentum) * g; // Nesterov
          }
        });
      const tensors = (prefix: string, pick: (batch: MatrixBatch) => Float32Array) =>
        Object.fromEntries(
          batches.map((batch, i) => [
            `${prefix}.${i}`,
            float32(pick(batch), [batch.places.length, batch.rows, batch.columns]),
          ]),
        );
      const updates = await session.run(
        tensors("momentum", ({ momenta }) => momenta),
        tensors("update", ({ updates: into }) => into),
      );
      batches.forEach(({ rows, columns, places }, batch) => {
        const size = rows * columns;
        const rate = learningRate * muonScale(rows, columns);
        const update = updates[`update.${batch}`].data as Float32Array;
        places.forEach(({ parameter, offset }, i) => {
          const value = values.get(parameter.name)!;
          const keep = 1 - learningRate * (decays(parameter) ? weightDecay : 0);
          for (let at = 0; at < size; at++)
            value[offset + at] = value[offset + at] * keep - rate * update[i * size + at];
        });
      });
    },
    dispose: () => session.dispose(),
  };
}

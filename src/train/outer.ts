/**
 * The outer step of DiLoCo (arXiv 2311.08105): Nesterov momentum on the mean difference of the replicas. With a rate of 1
 * and no momentum, the new weights are the mean of the replicas' weights.
 */

/** The settings of the outer step. */
export interface Outer {
  rate: number;
  momentum: number;
}

/** Adds up differences [N] one by one, in float64, so that memory does not grow with the number of replicas. */
export function meanDifference(count: number): { add(difference: Float32Array): void; mean(): Float64Array } {
  const sum = new Float64Array(count);
  let added = 0;
  return {
    add(difference) {
      for (let i = 0; i < sum.length; i++) sum[i] += difference[i];
      added++;
    },
    mean: () => sum.map((value) => value / added),
  };
}

/** Updates weights and momentum [N] in place. `mean` is the mean of the old weights minus the replicas' new ones. */
export function outerStep(
  values: Float32Array,
  momentum: Float32Array,
  mean: Float64Array,
  { rate, momentum: keep }: Outer,
): void {
  for (let i = 0; i < values.length; i++) {
    const moved = keep * momentum[i] + mean[i];
    momentum[i] = moved;
    values[i] -= rate * (mean[i] + keep * moved);
  }
}

/** A comparison with a recorded result: the worst error and its tolerance. */

export interface Comparison {
  name: string;
  error: number;
  tolerance: number;
  ok: boolean;
}

const verdict = (name: string, error: number, tolerance: number): Comparison => ({
  name,
  error,
  tolerance,
  ok: error <= tolerance, // false for NaN
});

type Numbers = ArrayLike<number>;

function worst(a: Numbers, b: Numbers, size: (i: number) => number = () => 1): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const error = Math.abs(a[i] - b[i]) / size(i);
    if (Number.isNaN(error)) return error;
    if (error > most) most = error;
  }
  return most;
}

/** Worst absolute error. */
export const within = (name: string, got: Numbers, expected: Numbers, tolerance: number): Comparison =>
  verdict(name, worst(got, expected), tolerance);

/** Error relative to the recorded number. */
export const relative = (name: string, got: number, expected: number, tolerance: number): Comparison =>
  verdict(name, worst([got], [expected]) / Math.max(Math.abs(expected), 1e-30), tolerance);

/** Worst error relative to the tensor's largest recorded value. */
export const relativeToLargest = (name: string, got: Numbers, expected: Numbers, tolerance: number): Comparison =>
  verdict(name, worst(got, expected) / Math.max(largest(expected), 1e-30), tolerance);

/** The largest absolute value. */
export function largest(values: Numbers): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]));
  return most;
}

/** AdamW and gradient clipping by norm, on plain arrays. Knows no graphs, and not which parameters decay. */

export interface AdamWOptions {
  learningRate: number;
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
}

/** First and second moments of one parameter; Muon keeps only the first. */
export interface Moments {
  first: Float32Array;
  second?: Float32Array;
}

/**
 * Performs one step in place: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p = p (1 - rate decay) - rate m' /
 * (sqrt(v') + eps), with m' and v' corrected for their start at zero. `step` counts from 1; `scale` multiplies the
 * gradient (clipping).
 */
export function adamw(
  value: Float32Array,
  gradient: Float32Array,
  { first, second }: Required<Moments>,
  { learningRate, betas: [beta1, beta2], eps, weightDecay }: AdamWOptions,
  { step, scale = 1 }: { step: number; scale?: number },
): void {
  const keep = 1 - learningRate * weightDecay;
  const rate = learningRate / (1 - beta1 ** step);
  const correction = 1 / Math.sqrt(1 - beta2 ** step);
  for (let i = 0; i < value.length; i++) {
    const g = gradient[i] * scale;
    const m = beta1 * first[i] + (1 - beta1) * g;
    const v = beta2 * second[i] + (1 - beta2) * g * g;
    first[i] = m;
    second[i] = v;
    value[i] = value[i] * keep - (rate * m) / (Math.sqrt(v) * correction + eps);
  }
}

/** The joint norm of all gradients. */
export function globalNorm(gradients: Iterable<Float32Array>): number {
  let total = 0;
  for (const gradient of gradients) {
    let part = 0;
    for (let i = 0; i < gradient.length; i++) part += gradient[i] * gradient[i];
    total += part;
  }
  return Math.sqrt(total);
}

/** The factor by which clipping by norm scales gradients, as in PyTorch. */
export const clipScale = (norm: number, limit: number): number => Math.min(1, limit / (norm + 1e-6));

/**
 * How a byte is drawn: logits, guidance, temperature, truncation, and the draw itself. Which settings are inputs of a
 * graph is decided when it is built; disabled settings leave no node in it.
 */

import type { CutName, DrawForm, DrawName, LogitName } from "../config/sampling.ts";
import {
  add,
  cast,
  clip,
  cumulativeSum,
  descending,
  div,
  input,
  less,
  max,
  maximum,
  mul,
  neg,
  pick,
  reshape,
  slice,
  softmax,
  sub,
  sum,
  where,
} from "../graph/build.ts";
import { over } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";

/** A graph's inputs by name: scalars, or [C] if each channel has its own value. */
export type DrawInputs = { [N in DrawName | "guidance"]?: Tensor };

export function drawInputs(form: DrawForm, { guided, channels }: { guided: boolean; channels: number }): DrawInputs {
  const found: DrawInputs = {};
  for (const [name, how] of Object.entries(form) as [DrawName, DrawForm[DrawName]][])
    found[name] = input(name, "float32", how === "channels" ? [channels] : []);
  if (guided) found.guidance = input("guidance", "float32", []);
  return found;
}

/** The inputs of one channel: scalars, or [1]. */
export const ofChannel = (inputs: DrawInputs, channel: number): DrawInputs =>
  Object.fromEntries(
    Object.entries(inputs).map(([name, value]) => [
      name,
      value.shape.length === 0 ? value : slice(value, 0, channel, channel + 1),
    ]),
  );

/** Applies a setting of this value to logits. `guidance` is also given if there are unconditional logits, [2 M, V] in all. */
type Change = (logits: Tensor, value: Tensor, guidance?: Tensor) => Tensor;

/** One row for each setting that changes logits, in the order in which they apply. The threshold's row also guides. */
const changes: Record<LogitName, Change> = {
  temperature: mul,
  // Without guidance the graph has no such input.
  filterThreshold: (logits, value, guidance) => (guidance ? guide(logits, guidance, value) : logits),
};

/** Which of the probabilities [M, V] a setting with this value cuts off: bool [M, V]. */
type Cut = (probabilities: Tensor, value: Tensor) => Tensor;

/** One row for each setting that truncates the distribution. */
const cuts: Record<CutName, Cut> = {
  // In descending order, a probability stays if the sum of those before it is below the share. Ties stay together.
  topP(probabilities, share) {
    const sorted = descending(probabilities);
    const last = dim(sorted, 1) as number;
    const before = slice(cumulativeSum(sorted), 1, 0, last - 1); // the sum before each probability but the first
    const kept = where(less(before, share), slice(sorted, 1, 1, last), slice(sorted, 1, 0, 1));
    const least = neg(max(neg(kept)));
    return less(probabilities, where(less(share, 1), least, 0));
  },
  minP: (probabilities, share) => less(probabilities, mul(share, max(probabilities))),
};

/**
 * Probabilities [M, V] from the logits of one channel: [M, V], or with guidance [2 M, V], the unconditional ones last.
 */
export function distribution(logits: Tensor, inputs: DrawInputs): Tensor {
  const valued = <T>(rows: Record<string, T>): [row: T, value: Tensor][] =>
    Object.entries(rows).flatMap(([name, row]) => {
      const value = inputs[name as DrawName];
      return value ? [[row, value]] : [];
    });
  const all = softmax(
    valued(changes).reduce<Tensor>((changed, [change, value]) => change(changed, value, inputs.guidance), logits),
  );
  const wanted = valued(cuts).map(([cut, value]) => cut(all, value));
  if (wanted.length === 0) return all;
  const kept = wanted.reduce<Tensor>((left, isCut) => where(isCut, 0, left), all);
  return div(kept, sum(kept, [1], { keep: true }));
}

/**
 * Guided logits [M, V] from conditional logits followed by unconditional ones: lu + w (lc - lu). Where p_c is below the
 * threshold, lu is first raised to the value it would have under a distribution like p_c, so that guidance boosts
 * nothing there.
 */
function guide(logits: Tensor, guidance: Tensor, filterThreshold: Tensor): Tensor {
  const both = reshape(logits, [2, over(dim(logits, 0), 2), dim(logits, 1)]);
  const conditional = pick(both, 0, 0);
  const unconditional = pick(both, 0, 1);
  const raised = maximum(unconditional, add(sub(conditional, max(conditional)), max(unconditional)));
  const filtered = where(less(softmax(conditional), filterThreshold), raised, unconditional);
  return add(filtered, mul(guidance, sub(conditional, filtered)));
}

/**
 * Draws a category from probabilities [M, V] with uniforms [M, 1] in [0, 1): the first category whose running sum
 * exceeds that share of the total, so that a category with zero probability is never drawn. The total is the end of the
 * running sum, which rounding keeps from being exactly 1.
 */
export function draw(probabilities: Tensor, uniforms: Tensor): Tensor {
  const categories = dim(probabilities, 1) as number;
  const running = cumulativeSum(probabilities);
  const share = mul(uniforms, slice(running, 1, categories - 1, categories));
  const above = sum(cast(less(share, running), "float32"), [1]);
  return cast(clip(sub(categories, above), 0, categories - 1), "int32");
}

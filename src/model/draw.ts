/**
 * How a byte is drawn: logits, guidance, temperature, what is cut off, and the draw itself. Which settings are inputs of
 * a graph is decided when it is built; those that are off leave no node in it.
 */

import type { CutName, DrawForm, DrawName } from "../config/sampling.ts";
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
import { dim, type Tensor } from "../graph/tensor.ts";

/** A graph's inputs by their names: scalars, or [C] where each channel has its own. */
export type DrawInputs = { [N in DrawName | "guidance"]?: Tensor };

export function drawInputs(form: DrawForm, { guided, channels }: { guided: boolean; channels: number }): DrawInputs {
  const found: DrawInputs = {};
  for (const [name, how] of Object.entries(form) as [DrawName, DrawForm[DrawName]][])
    found[name] = input(name, "float32", how === "channels" ? [channels] : []);
  if (guided) found.guidance = input("guidance", "float32", []);
  return found;
}

/** Those of one channel: scalars, or [1]. */
export const ofChannel = (inputs: DrawInputs, channel: number): DrawInputs =>
  Object.fromEntries(
    Object.entries(inputs).map(([name, value]) => [
      name,
      value.shape.length === 0 ? value : slice(value, 0, channel, channel + 1),
    ]),
  );

/** Which of the probabilities [M, V] are cut off at a setting's value: bool [M, V]. */
type Cut = (probabilities: Tensor, value: Tensor) => Tensor;

/** A row for each setting that changes `cut`. */
const cuts: Record<CutName, Cut> = {
  // With the likeliest first, those stay before which the running sum is below the share, and all that are as likely.
  topP(probabilities, share) {
    const sorted = descending(probabilities);
    const last = dim(sorted, 1) as number;
    const before = slice(cumulativeSum(sorted), 1, 0, last - 1); // of all but the first
    const kept = where(less(before, share), slice(sorted, 1, 1, last), slice(sorted, 1, 0, 1));
    const least = neg(max(neg(kept)));
    return less(probabilities, where(less(share, 1), least, 0));
  },
  minP: (probabilities, share) => less(probabilities, mul(share, max(probabilities))),
};

/** Probabilities [M, V] from the logits of one channel: [M, V], or [2 M, V] with guidance, those without condition last. */
export function distribution(logits: Tensor, { temperature, ...inputs }: DrawInputs): Tensor {
  const all = softmax(guide(temperature ? mul(logits, temperature) : logits, inputs));
  const wanted = Object.entries<Cut>(cuts).flatMap(([name, cut]) => {
    const value = inputs[name as keyof typeof inputs];
    return value ? [cut(all, value)] : [];
  });
  if (wanted.length === 0) return all;
  const kept = wanted.reduce<Tensor>((left, isCut) => where(isCut, 0, left), all);
  return div(kept, sum(kept, [1], { keep: true }));
}

/**
 * Guided logits [M, V] from those with the condition and, behind them, without: lu + w (lc - lu). Where p_c is below
 * the threshold, lu is first raised to what a distribution like p_c would give it, so that guidance lifts nothing there.
 */
function guide(logits: Tensor, { guidance, filterThreshold }: DrawInputs): Tensor {
  if (!guidance || !filterThreshold) return logits;
  const both = reshape(logits, [2, "M", dim(logits, 1)]);
  const conditional = pick(both, 0, 0);
  const unconditional = pick(both, 0, 1);
  const raised = maximum(unconditional, add(sub(conditional, max(conditional)), max(unconditional)));
  const filtered = where(less(softmax(conditional), filterThreshold), raised, unconditional);
  return add(filtered, mul(guidance, sub(conditional, filtered)));
}

/**
 * The category of probabilities [M, V] at uniforms [M, 1] in [0, 1): the first whose running sum is above that share of
 * the whole, so that one without probability is never drawn. The whole is the running sum's end, which rounding keeps
 * from being 1.
 */
export function draw(probabilities: Tensor, uniforms: Tensor): Tensor {
  const categories = dim(probabilities, 1) as number;
  const running = cumulativeSum(probabilities);
  const share = mul(uniforms, slice(running, 1, categories - 1, categories));
  const above = sum(cast(less(share, running), "float32"), [1]);
  return cast(clip(sub(categories, above), 0, categories - 1), "int32");
}

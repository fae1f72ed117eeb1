/** Reverse-mode differentiation: one topological walk that applies the gradient rows of the operation table. */

import { add, concat, constant, expandLike, reshape, sum } from "./build.ts";
import { float32 } from "../core/arrays.ts";
import type { Zero } from "./operations/row.ts";
import { operations } from "./operations/table.ts";
import { sameShape, type Shape, showShape } from "./shape.ts";
import { type Tensor, topological } from "./tensor.ts";

/**
 * Returns the gradients of the loss with respect to each of `wanted`, in their shapes. The loss is a scalar, or a map
 * that gives its gradients for some tensors, from which backpropagation starts. Throws if the loss does not depend on
 * one of `wanted`, which would silently never learn, or if an operation on the path has no gradient.
 */
export function gradients(loss: Tensor | ReadonlyMap<Tensor, Tensor>, wanted: readonly Tensor[]): Tensor[] {
  const starts = loss instanceof Map ? (loss as ReadonlyMap<Tensor, Tensor>) : ofScalar(loss as Tensor);
  const order = topological([...starts.keys()]);
  const needed = new Set<Tensor>(wanted);
  for (const node of order) if (node.inputs.some((x) => needed.has(x))) needed.add(node);

  const flowing = new Map<Tensor, Tensor[]>([...starts].map(([x, dx]) => [x, [dx]]));
  const total = (x: Tensor): Tensor | undefined => {
    const parts = flowing.get(x);
    if (!parts) return undefined;
    const whole = joined(parts) ?? parts.reduce((a, b) => add(a, b));
    flowing.set(x, [whole]);
    return whole;
  };
  for (const node of order.reverse()) {
    const { gradient } = operations[node.op];
    const dy = node.inputs.some((x) => needed.has(x)) && total(node);
    if (!dy || gradient === "zero") continue;
    if (typeof gradient === "string")
      throw new Error(
        `gradients: ${node.op} has no gradient; write it in the operation's row, or stop it with stopGradient`,
      );
    const parts = (gradient as (node: Tensor, dy: Tensor) => (Tensor | Zero)[])(node, dy);
    parts.forEach((part, i) => {
      const x = node.inputs[i];
      if (part === "zero" || !needed.has(x)) return;
      const fitted = unbroadcast(part, x.shape);
      flowing.set(x, [...(flowing.get(x) ?? []), fitted]);
    });
  }
  return wanted.map((x) => {
    const found = total(x);
    if (!found)
      throw new Error(`gradients: the loss does not depend on ${"name" in x.attributes ? x.attributes.name : x.op}`);
    return sameShape(found.shape, x.shape) ? found : expandLike(found, x);
  });
}

function ofScalar(loss: Tensor): Map<Tensor, Tensor> {
  if (loss.shape.length !== 0) throw new Error(`gradients: the loss is ${showShape(loss.shape)}, expected a scalar`);
  return new Map([[loss, constant(float32([1], []))]]);
}

/** Sums over the axes along which a value of `shape` was broadcast. */
function unbroadcast(dy: Tensor, shape: Shape): Tensor {
  if (sameShape(dy.shape, shape)) return dy;
  const extra = dy.shape.length - shape.length;
  const axes = dy.shape.flatMap((d, i) => (i < extra || (shape[i - extra] === 1 && d !== 1) ? [i] : []));
  return reshape(sum(dy, axes), shape);
}

/**
 * Concatenates the gradients of adjacent slices that cover the whole tensor, instead of padding them with zeros and
 * adding.
 */
function joined(parts: readonly Tensor[]): Tensor | undefined {
  if (parts.length < 2 || !parts.every((part): part is Tensor<"pad"> => part.op === "pad")) return undefined;
  const { axis } = parts[0].attributes;
  const sorted = [...parts].sort((a, b) => a.attributes.before - b.attributes.before);
  let end = 0;
  for (const { attributes, inputs } of sorted) {
    if (attributes.axis !== axis || attributes.before !== end) return undefined;
    end += inputs[0].shape[axis] as number;
  }
  if (end !== parts[0].shape[axis]) return undefined;
  return concat(
    sorted.map(({ inputs }) => inputs[0]),
    axis,
  );
}

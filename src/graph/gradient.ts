/** Reverse-mode differentiation: one topological walk and the table's gradient rows. */

import { add, constant, expandLike, reshape, sum } from "./build.ts";
import { float32 } from "../core/arrays.ts";
import { operations } from "./operations/table.ts";
import { sameShape, type Shape, showShape } from "./shape.ts";
import { type Tensor, topological } from "./tensor.ts";

/**
 * d loss / d each of `wanted`, in their shapes; `loss` is a scalar. One that the loss does not depend on has no
 * gradient and is an error, for it would silently never learn.
 */
export function gradients(loss: Tensor, wanted: readonly Tensor[]): Tensor[] {
  if (loss.shape.length !== 0) throw new Error(`gradients: the loss is ${showShape(loss.shape)}, expected a scalar`);
  const order = topological([loss]);
  const needed = new Set<Tensor>(wanted);
  for (const node of order) if (node.inputs.some((x) => needed.has(x))) needed.add(node);

  const flowing = new Map<Tensor, Tensor>([[loss, constant(float32([1], []))]]);
  for (const node of order.reverse()) {
    const dy = flowing.get(node);
    if (!dy || !needed.has(node) || node.inputs.length === 0) continue;
    const { gradient } = operations[node.op];
    if (!gradient) continue;
    const parts = (gradient as (node: Tensor, dy: Tensor) => (Tensor | null)[])(node, dy);
    parts.forEach((part, i) => {
      const x = node.inputs[i];
      if (!part || !needed.has(x)) return;
      const fitted = unbroadcast(part, x.shape);
      const before = flowing.get(x);
      flowing.set(x, before ? add(before, fitted) : fitted);
    });
  }
  return wanted.map((x) => {
    const found = flowing.get(x);
    if (!found)
      throw new Error(`gradients: the loss does not depend on ${"name" in x.attributes ? x.attributes.name : x.op}`);
    return sameShape(found.shape, x.shape) ? found : expandLike(found, x);
  });
}

/** Sums over the axes along which a value of `shape` was repeated. */
function unbroadcast(dy: Tensor, shape: Shape): Tensor {
  if (sameShape(dy.shape, shape)) return dy;
  const extra = dy.shape.length - shape.length;
  const axes = dy.shape.flatMap((d, i) => (i < extra || (shape[i - extra] === 1 && d !== 1) ? [i] : []));
  return reshape(sum(dy, axes), shape);
}

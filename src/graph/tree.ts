/**
 * Tensors in lists and records of any depth, named by their path: `{ take: [a, b] }` contains take.0 and take.1. The
 * inputs and outputs of a graph, and their values, are such trees, so the compiler can check what names alone would
 * not.
 */

import type { DeviceTensor, HostTensor, Value } from "../core/arrays.ts";
import type { Tensor } from "./tensor.ts";

/** Leaves in lists and records of any depth; undefined is an absent part. */
export type Tree<T> = T | undefined | readonly Tree<T>[] | { readonly [key: string]: Tree<T> };

/** The values of a tree of tensors, on the host by default. */
export type Values<X, V = HostTensor> = X extends Tensor
  ? V
  : X extends undefined
    ? undefined
    : { [K in keyof X]: Values<X[K], V> };

/** The values of a tree of tensors that stay on a device. */
export type DeviceValues<X> = Values<X, DeviceTensor>;

/** The name of the tensor at a path. */
export const nameAt = (...path: readonly (string | number)[]): string => path.join(".");

const isLeaf = <T extends object>(tree: Tree<T>): tree is T => "dtype" in (tree as object);

/** All tensors or values of a tree by name, in order. */
export function named<T extends { dtype: unknown }>(
  tree: Tree<T>,
  path: readonly (string | number)[] = [],
): Record<string, T> {
  if (tree === undefined) return {};
  if (isLeaf(tree)) return { [nameAt(...path)]: tree };
  return Object.assign({}, ...Object.entries(tree).map(([key, part]) => named(part, [...path, key])));
}

/** The tree with each tensor replaced by the result of `to`. */
export function mapped<T extends { dtype: unknown }, U>(
  tree: Tree<T>,
  to: (leaf: T, name: string) => U,
  path: readonly (string | number)[] = [],
): Tree<U> {
  if (tree === undefined) return undefined;
  if (isLeaf(tree)) return to(tree, nameAt(...path));
  const inside = (part: Tree<T>, key: string | number): Tree<U> => mapped(part, to, [...path, key]);
  return Array.isArray(tree)
    ? tree.map(inside)
    : Object.fromEntries(Object.entries(tree).map(([key, part]: [string, Tree<T>]) => [key, inside(part, key)]));
}

/** The tree with each tensor replaced by its value in `values`, by name; `path` is where the tree begins. */
export function valuesOf<X, V = HostTensor>(
  tree: X,
  values: Readonly<Record<string, V>>,
  path: readonly (string | number)[] = [],
): Values<X, V> {
  const found: unknown = mapped(tree as Tree<Tensor>, (_, name) => values[name], path);
  return found as Values<X, V>;
}

/** Runs a graph, like the sessions of an engine. */
export interface Runs {
  /** Computes outputs by name from inputs by name; outputs named in `into` are written in place. */
  run(feeds: Record<string, Value>, into?: Record<string, HostTensor>): Promise<Readonly<Record<string, HostTensor>>>;
}

/** Runs a session whose graph has these outputs; returns their values in the same structure. */
export const runTree = async <X>(
  session: Runs,
  outputs: X,
  feeds: Tree<Value>,
  into: Tree<HostTensor> = {},
): Promise<Values<X>> => valuesOf(outputs, await session.run(named(feeds), named(into)));

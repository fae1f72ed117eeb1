/** The options of `fractalgen evaluate likelihood`. */

import type { Provider } from "../engine/engine.ts";
import type { Precision } from "../graph/form.ts";
import type { Shard } from "../queue/shards.ts";
import type { DataFlags } from "./data-options.ts";

export interface LikelihoodFlags extends DataFlags {
  model: string;
  data: string;
  part: "held-out" | "train";
  images?: number;
  passes: number;
  order?: boolean;
  conditional?: boolean;
  seed: number;
  perImage?: string;
  map?: string;
  chart?: string;
  batch: number;
  json?: boolean;
  device: Provider;
  precision: Precision;
  threads?: number;
  queue?: string;
  shared?: string;
  shard?: Shard;
  joined?: boolean;
}

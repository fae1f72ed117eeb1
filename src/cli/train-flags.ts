/** The options of `fractalgen train`. */

import type { Provider } from "../engine/engine.ts";
import type { Precision } from "../graph/form.ts";
import type { RunOptions } from "../runs/options.ts";

export interface TrainFlags extends Omit<RunOptions, "initFrom"> {
  initFrom?: string[];
  features?: string;
  cache: string;
  samples: boolean;
  json?: boolean;
  device: Provider;
  precision: Precision;
  threads?: number;
  queue?: string;
  shared?: string;
}

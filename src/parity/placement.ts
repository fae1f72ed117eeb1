/** Which execution provider ran each node, read from onnxruntime's profiles. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Engine } from "../engine/engine.ts";

export interface Placement {
  /** The number of nodes that each execution provider ran. */
  nodes: Record<string, number>;
  /** The operators that did not run on the engine's provider, with the types of their inputs. */
  elsewhere: string[];
}

interface ProfiledEvent {
  cat: string;
  args?: { provider?: string; op_name?: string; input_type_shape?: Record<string, unknown>[] };
}

/** Reads the files in `folder` whose names begin with `profile`; sessions write them when they are disposed. */
export function placement({ provider }: Engine, folder: string): Placement {
  const nodes: Record<string, number> = {};
  const elsewhere = new Set<string>();
  for (const file of readdirSync(folder).filter((name) => name.startsWith("profile")))
    for (const { cat, args } of JSON.parse(readFileSync(join(folder, file), "utf8")) as ProfiledEvent[]) {
      if (cat !== "Node" || !args?.provider) continue;
      nodes[args.provider] = (nodes[args.provider] ?? 0) + 1;
      if (args.provider.toLowerCase().startsWith(provider)) continue;
      const types = (args.input_type_shape ?? []).flatMap((one) => Object.keys(one));
      elsewhere.add(`${args.op_name}(${types.join(", ")})`);
    }
  return { nodes, elsewhere: [...elsewhere].sort() };
}

/** The work of `fractalgen evaluate quality`: checks, progress, and what is printed. */

import type { Command } from "commander";
import { UserError } from "../core/errors.ts";
import type { Provider } from "../engine/engine.ts";
import { readStatistics } from "../evaluate/statistics.ts";
import type { DataFlags } from "./data-options.ts";
import { openEngine } from "./engine.ts";
import { openNetwork } from "../measures/feature-network.ts";
import { findGenerated, type GeneratedFlags, leftOf, openBeside } from "./generated.ts";
import type { DatasetPart } from "../measures/image-sets.ts";
import { keptFeatures } from "../measures/kept-features.ts";
import {
  checkNetwork,
  isStatistics,
  measureQuality,
  type QualityReference,
  qualitySets,
  usualPart,
} from "../measures/quality.ts";
import { qualityRecord, qualityTable } from "./evaluate-quality-table.ts";
import { checkFile } from "./outputs.ts";
import { withProgress } from "./running.ts";
import { checkQueue } from "./queue-options.ts";
import { openRemote } from "./remote.ts";
import { commandArgs, type ShardFlags } from "./shard.ts";

export interface QualityFlags extends DataFlags, GeneratedFlags, Pick<ShardFlags, "shard" | "joined"> {
  reference: string;
  part?: DatasetPart;
  features?: string;
  subsets: number;
  subsetSize?: number;
  splits: number;
  neighbours: number;
  saveStats?: string;
  json?: boolean;
  device: Provider;
}

export async function quality(flags: QualityFlags, command: Command): Promise<void> {
  checkQueue(flags);
  if (flags.saveStats !== undefined) checkFile(flags.saveStats, { option: "--save-stats", endings: [".npz"] });
  const statistics = (await isStatistics(flags.reference)) ? await readStatistics(flags.reference) : undefined;
  if (statistics && flags.saveStats !== undefined)
    throw new UserError("--save-stats: the reference is already a file of statistics; leave this option out");
  await withProgress({ quiet: flags.json, left: leftOf(flags) }, async (running) => {
    const { progress, signal, closing } = running;
    const context = { onProgress: progress.update, signal, kept: keptFeatures(flags.cache) };
    const found = await findGenerated(flags, { progress, signal });
    const dataset = statistics ? undefined : await openBeside(flags.reference, found, flags, { progress, signal });
    const engine = await openEngine(flags);
    const sharded = flags.shard && (await import("./shard-measure.ts"));
    sharded?.checkShardNetwork(flags);
    const own = closing(await openNetwork(engine, { ...flags, dataset, ...context }), (one) => one.dispose?.());
    const args = commandArgs(command);
    const reference: QualityReference = dataset ? { dataset, part: await partOf(flags) } : { statistics: statistics! };
    if (sharded) {
      const { reference: all, heldOut } = qualitySets({ ...flags, reference });
      const measured = { engine, found, dataset, network: own, real: () => [all, heldOut] };
      return sharded.shardMeasure(flags, args, measured, running);
    }
    const remote = await openRemote({ ...flags, joins: flags.joined ? args : undefined }, running);
    const network = remote?.network(own) ?? own;
    checkNetwork(network, { imageSize: found.size, reference });
    const generated = closing(await found.open(engine, dataset, remote), (one) => one.dispose?.());
    const asked = { ...flags, generated, reference, network, saveStatistics: flags.saveStats };
    const { reference: real, ...columns } = await measureQuality(engine, asked, context);
    context.kept.forget();
    progress.clear();
    const described = {
      generated: generated.name,
      imageSize: found.size,
      resized: { generated: generated.resized ?? 0, reference: dataset?.report?.resized ?? 0 },
      drawn: found.settings,
      reference: real?.name ?? flags.reference,
      referenceImages: real?.count,
      features: { kind: network.kind, name: network.name, width: network.width },
    };
    const skipped = [...generated.skipped, ...(dataset?.skipped ?? [])];
    const print = flags.json ? qualityRecord : qualityTable;
    console.log(print(described, columns, { network, skipped }));
  });
}

/** If the options hold out a part, images are compared with the rest. */
async function partOf({ part, reference, heldOut, group }: QualityFlags): Promise<DatasetPart> {
  return part ?? (heldOut !== undefined || group !== undefined ? "train" : usualPart(reference));
}

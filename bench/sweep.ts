/** `npm run bench -- sweep`: measures the images of every combination of sampling settings, and plots the best. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openFor, type DataFlags } from "../src/cli/data-options.ts";
import { openEngine } from "../src/cli/engine.ts";
import { findModel, nameOf } from "../src/cli/models.ts";
import { checkFolder } from "../src/cli/outputs.ts";
import { withProgress } from "../src/cli/running.ts";
import { settingsOf } from "../src/cli/sampling-options.ts";
import { duration } from "../src/core/duration.ts";
import { UserError } from "../src/core/errors.ts";
import { evenly } from "../src/data/dataset.ts";
import type { Engine, Provider } from "../src/engine/engine.ts";
import type { MeasuredSet } from "../src/evaluate/features.ts";
import { frechetDistance, precisionAndRecall } from "../src/evaluate/metrics.ts";
import { appendLine, writeFileAtomic } from "../src/files/atomic.ts";
import { checksum } from "../src/files/checksum.ts";
import { own } from "../src/files/ownership.ts";
import { drawnSet, labelsLike } from "../src/measures/drawn-set.ts";
import { measureSet, type OpenedNetwork, openNetwork } from "../src/measures/feature-network.ts";
import { type ImageSet, partSet } from "../src/measures/image-sets.ts";
import { keptFeatures } from "../src/measures/kept-features.ts";
import { type Background, backgroundOf, inkOf, nearlyBlankBelow } from "./sweep-blank.ts";
import { namedRow, paretoBest, recognisedShare, type SweepMeasures, type SweepResult, sweepSvg, tableHead, tableRow } from "./sweep-report.ts"; // prettier-ignore
import { combinationsOf, inWords, keyOf, type SweptValues, varied } from "./sweep-settings.ts";

export interface SweepBench extends DataFlags, SweptValues {
  model: string;
  data: string;
  count: number;
  seed: number;
  features: string;
  out?: string;
  batch: number;
  json?: boolean;
  device: Provider;
  threads?: number;
}

/** A line of results.jsonl. `key` is a hash of the model, data, features and settings. */
interface Line extends SweepResult {
  key: string;
}

const neighbours = 3;

export async function benchSweep(flags: SweepBench): Promise<void> {
  const { count, seed, json, batch, threads } = flags;
  const model = await findModel(flags.model);
  const { config } = model;
  const out = flags.out ?? join("out", `sweep-${nameOf(model)}`);
  checkFolder(out, { option: "--out" });
  const names = varied(flags);
  const combinations = combinationsOf(flags).map((given) => settingsOf(given, config));
  const results: SweepResult[] = [];
  const left = `; the same command resumes from ${out}`;
  await withProgress({ quiet: json, left }, async ({ progress, signal, closing }) => {
    closing(await own(out, { inside: true, signal }), ({ release }) => release());
    const lines = await readLines(join(out, "results.jsonl"));
    const dataset = await openFor(config, flags, { progress, signal });
    const engine = await openEngine(flags);
    const context = { onProgress: progress.update, signal };
    const network = closing(await openNetwork(engine, { ...flags, dataset, ...context }), (one) => one.dispose());
    const weights = await checksum(model.weights.path, { signal });
    const labelOf = labelsLike(config.classes, dataset);
    if (config.classes.join() !== dataset.classes.join() && !json)
      console.error(`${dataset.name} has other classes than the model, so the model's classes are drawn in turn`);
    // Only the reference takes long; the images of a combination are kept as files.
    const kept = keptFeatures(flags.cache);
    const reference = await measureSet(engine, network, partSet(dataset, "train"), { ...context, kept });
    const sameClasses = network.classes?.join() === dataset.classes.join();
    const named = sameClasses && config.classes.join() === dataset.classes.join();
    const measuring: Measuring = { engine, network, reference, background: backgroundOf(dataset), signal };
    const shownHeldOut = evenly(dataset.heldOut, count);
    const heldOutSet = partSet({ ...dataset, heldOut: shownHeldOut }, "held-out");
    const heldOut =
      dataset.heldOut.count > neighbours
        ? await measured(heldOutSet, measuring, named ? (i) => shownHeldOut.labels[i] : undefined)
        : undefined;
    progress.clear();
    if (!json) console.log(tableHead(names));
    if (heldOut && !json) console.log(namedRow("held out", names.length, heldOut));

    const write = async () =>
      results.length > 0 &&
      writeFileAtomic(
        join(out, "sweep.svg"),
        sweepSvg({ title: `Sampling settings of ${nameOf(model)}`, count, names, results, heldOut }),
      );
    for (const [at, settings] of combinations.entries()) {
      const drawn = { weights, seed, data: dataset.fingerprint, classes: config.classes };
      const key = keyOf(settings, { ...drawn, count, features: network.id });
      const known = lines.find((line) => line.key === key);
      if (known) results.push({ ...known, settings });
      else {
        const started = performance.now();
        const each = join(out, "images", keyOf(settings, drawn));
        const what = `${at + 1} of ${combinations.length}, ${inWords(names, settings)}`;
        const onProgress = (done: number) => {
          const rest = ((performance.now() - started) / 1000 / done) * (count - done);
          progress.update(`${what}: ${Math.floor(done)} of ${count} images  ${duration(rest)} left`);
        };
        const asked = { ...settings, count, seed, batch, threads, each, signal, onProgress };
        const set = await drawnSet(engine, model, labelOf, asked);
        try {
          results.push({ settings, ...(await measured(set, measuring, named ? labelOf : undefined)) });
        } finally {
          await set.dispose?.();
        }
        const line: Line = { key, ...results.at(-1)! };
        await appendLine(join(out, "results.jsonl"), JSON.stringify(line));
      }
      progress.clear();
      if (!json) console.log(tableRow(names, results.at(-1)!));
      await write();
    }
    kept.forget();
    const best = paretoBest(results);
    if (json) {
      const combined = results.map((result) => ({ ...result, best: best.includes(result) }));
      const measuredBy = { kind: network.kind, name: network.name };
      console.log(JSON.stringify({ model: flags.model, data: dataset.name, count, seed, features: measuredBy, heldOut, combinations: combined, out })); // prettier-ignore
      return;
    }
    console.log(`\nPareto-best in precision, recall and blank images, by Fréchet distance:\n${tableHead(names)}`);
    for (const result of best) console.log(tableRow(names, result));
    console.log(join(out, "sweep.svg"));
  });
}

interface Measuring {
  engine: Engine;
  network: OpenedNetwork;
  reference: MeasuredSet;
  background: Background;
  signal: AbortSignal;
}

/** Compares a set with the reference, and counts its blank images and, given labels, those recognised as their class. */
async function measured(
  set: ImageSet,
  { engine, network, reference, background, signal }: Measuring,
  labelOf?: (index: number) => number,
): Promise<SweepMeasures> {
  let [blank, nearlyBlank] = [0, 0];
  const counting: ImageSet = {
    ...set,
    async *images(options) {
      for await (const image of set.images(options)) {
        const ink = inkOf(image, { channels: set.channels, background });
        if (ink === 0) blank++;
        else if (ink < nearlyBlankBelow) nearlyBlank++;
        yield image;
      }
    },
  };
  const generated = await measureSet(engine, network, counting, { signal });
  const features = { generated: generated.features, reference: reference.features };
  const { precision, recall } = await precisionAndRecall(engine, features, { neighbours, signal });
  const statistics = { generated: generated.statistics, reference: reference.statistics };
  const distance = await frechetDistance(engine, statistics);
  return {
    frechetDistance: distance,
    precision,
    recall,
    blank: blank / set.count,
    nearlyBlank: nearlyBlank / set.count,
    ...(labelOf && { recognised: recognisedShare(generated.logits, labelOf) }),
  };
}

/** The lines of an earlier sweep. A kill can leave an incomplete last line, which is removed. */
async function readLines(path: string): Promise<Line[]> {
  if (!existsSync(path)) return [];
  const text = readFileSync(path, "utf8");
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  if (whole !== text) await writeFileAtomic(path, whole);
  try {
    return whole.split("\n").filter(Boolean).map((line) => JSON.parse(line) as Line); // prettier-ignore
  } catch {
    throw new UserError(`${path} is not the results of a sweep; delete it, or choose another folder (--out)`);
  }
}

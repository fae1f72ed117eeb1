/** `fractalgen init`: writes a published model with random weights, for trying a full-size model without a download. */

import { join } from "node:path";
import type { Command } from "commander";
import type { ModelConfig } from "../config/model.ts";
import { publishedNames, publishedPreset } from "../config/published.ts";
import { parameterCount } from "../core/counted.ts";
import { product } from "../core/arrays.ts";
import { byteCount } from "../core/byte-count.ts";
import { duration } from "../core/duration.ts";
import { derive, seedKey } from "../core/random.ts";
import { replaceFolder, writeFileAtomic, type Replacing } from "../files/atomic.ts";
import { configName, weightsName } from "../files/model.ts";
import { type TensorPieces, writeSafetensors } from "../files/safetensors.ts";
import { modelParameters, startingValue } from "../model/parameters.ts";
import { helpOption } from "./engine.ts";
import { ownNew } from "./outputs.ts";
import { withProgress } from "./running.ts";
import { checkSpace } from "./space.ts";
import { filled, seeds } from "./values.ts";

interface InitFlags {
  seed: number;
  json?: boolean;
}

export function addInit(program: Command): void {
  program
    .command("init")
    .summary("create a published model with random weights")
    .description(
      "Write a model folder with the random weights that training starts from, to try a model at full size without a download. Its images are noise.",
    )
    .argument("<preset>", publishedNames.join(", "))
    .argument("<out>", "a new folder", filled)
    .option("--seed <n>", "the same seed gives the same weights", seeds, 0)
    .option("--json", "print one line of JSON and no progress")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      '\nExample:\n  fractalgen init fractalmar_in64 random64 --seed 1\n  fractalgen sample --model random64 --iterations 4,4 -n 1 --guidance 1 --class "golden retriever"',
    )
    .action(init);
}

async function init(preset: string, out: string, { seed, json }: InitFlags): Promise<void> {
  const config = publishedPreset(preset);
  const parameters = modelParameters(config).reduce((sum, { shape }) => sum + product(shape), 0);
  const bytes = 4 * parameters;
  const made = await withProgress({ quiet: json }, async ({ progress, signal, closing }) => {
    const owned = closing(await ownNew(out, { option: "<out>", signal }), ({ release }) => release());
    await checkSpace(out, bytes);
    if (!json) console.error(`${preset}: ${parameterCount(parameters)}, ${byteCount(bytes)} in ${out}`);
    const started = performance.now();
    const onProgress = (count: number) => {
      const seconds = (performance.now() - started) / 1000;
      const left = duration((seconds * (parameters - count)) / count);
      progress.update(
        `${((100 * count) / parameters).toFixed(0).padStart(3)}%  ${byteCount(4 * count)} of ${byteCount(bytes)}  ${left} left`,
      );
    };
    await writeRandomModel(out, config, { seed, signal, onProgress, owned });
    return true;
  });
  if (made) console.log(json ? JSON.stringify({ out, preset, seed, parameters, bytes }) : out);
}

/**
 * Writes a model folder with the weights that training with `seed` starts from, all or nothing. Holds one tensor in memory at
 * a time; `onProgress` receives the number of parameters written.
 */
export async function writeRandomModel(
  folder: string,
  config: ModelConfig,
  {
    seed,
    onProgress,
    signal,
    owned,
  }: { seed: number; onProgress?: (parameters: number) => void; signal?: AbortSignal } & Replacing,
): Promise<void> {
  let made = 0;
  const tensors = modelParameters(config).map((parameter, i): [string, TensorPieces] => [
    parameter.name,
    {
      dtype: "float32",
      shape: parameter.shape,
      async *pieces() {
        signal?.throwIfAborted();
        const value = startingValue(parameter, derive(seedKey(seed), i));
        yield new Uint8Array(value.buffer);
        made += value.length;
        onProgress?.(made);
      },
    },
  ]);
  await replaceFolder(
    folder,
    async (temporary) => {
      await writeSafetensors(join(temporary, weightsName), tensors, { metadata: { format: "pt" } });
      await writeFileAtomic(join(temporary, configName), `${JSON.stringify(config, null, 2)}\n`);
    },
    { owned },
  );
}

/** Runs Inception-v3 on an engine, with weights from a file. Knows nothing about metrics. */

import type { HostTensor } from "../core/arrays.ts";
import type { Engine } from "../engine/engine.ts";
import { publishedInception } from "../config/downloads.ts";
import type { Conversion } from "../files/convert.ts";
import { type DescribedNetwork, networkWeights, openNetworkConversion } from "../files/inception.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { type InceptionFeature, inceptionGraph, inceptionParameters } from "./inception.ts";

const inception = (): DescribedNetwork => ({
  name: "FID's Inception-v3",
  source: [`use ${publishedInception.file} as published by torch-fidelity, or the file converted from it`],
  parameters: inceptionParameters(),
});

/** Opens the published weights, to convert them to the safetensors file that `openInception` reads. */
export const openInceptionConversion = (path: string): Promise<Conversion> => openNetworkConversion(inception(), path);

export interface Inception<F extends InceptionFeature> {
  /** From bytes [B, H, W, 3] of any height and width to features [B, width], float32. */
  run: (images: HostTensor) => Promise<Record<F, HostTensor<Float32Array>>>;
  dispose: () => Promise<void>;
}

/** Opens the network with the weights of a safetensors file. It computes only the given features. */
export async function openInception<F extends InceptionFeature>(
  engine: Engine,
  path: string,
  features: readonly F[],
): Promise<Inception<F>> {
  const found = networkWeights(inception(), path);
  const graph = inceptionGraph();
  const outputs = Object.fromEntries(features.map((name) => [name, graph[name]]));
  const session = await engine.session(writeOnnx(outputs, found), found);
  return {
    run: async (images) => (await session.run({ images })) as Record<F, HostTensor<Float32Array>>,
    dispose: () => session.dispose(),
  };
}

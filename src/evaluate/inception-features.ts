/** Inception-v3's features of images, on an engine, with its weights in a file. Knows no metrics. */

import type { HostTensor } from "../core/arrays.ts";
import type { Engine } from "../engine/engine.ts";
import { convertNetwork, type Network, openNetwork } from "../files/inception.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { type InceptionFeature, inceptionGraph, inceptionParameters } from "./inception.ts";

/** Where the weights are published; 96 MB. */
export const inceptionWeights = {
  url: "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
  bytes: 95_628_359,
  sha256: "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
};

const inception = (): Network => ({
  name: "FID's Inception-v3",
  source: "weights-inception-2015-12-05-6726825d.pth as torch-fidelity publishes it, or what was converted from it",
  parameters: inceptionParameters(),
});

/** Writes the published weights as the safetensors file that `openInception` takes. */
export const convertInception = (path: string, out: string): Promise<void> => convertNetwork(inception(), path, out);

export interface Inception<F extends InceptionFeature> {
  /** Features of images, bytes [B, H, W, 3] of any height and width: each [B, width], float32. */
  run: (images: HostTensor) => Promise<Record<F, HostTensor<Float32Array>>>;
  dispose: () => Promise<void>;
}

/** The network with the weights of a safetensors file; it computes the given features and nothing beyond them. */
export async function openInception<F extends InceptionFeature>(
  engine: Engine,
  path: string,
  features: readonly F[],
): Promise<Inception<F>> {
  const { folder, weights } = openNetwork(inception(), path);
  const graph = inceptionGraph();
  const outputs = Object.fromEntries(features.map((name) => [name, graph[name]]));
  const session = await engine.session(writeOnnx(outputs, { weights }), { folder });
  return {
    run: async (images) => (await session.run({ images })) as Record<F, HostTensor<Float32Array>>,
    dispose: () => session.dispose(),
  };
}

/** Outputs that stay in the memory of the device, for both runtimes. */

import type { DeviceTensor, HostTensor } from "../core/arrays.ts";
import type { KeptRun, Provider, SessionOptions } from "./engine.ts";

/** The part of a runtime's tensor that both runtimes share. Reading `data` of one on the device throws. */
interface RuntimeTensor {
  type: string;
  dims: readonly number[];
  data: unknown;
  dispose(): void;
}

/** The session option that keeps the selected outputs on the device, which both runtimes support for WebGPU only. */
export function locations(
  provider: Provider,
  outputs: readonly string[],
  keep: SessionOptions["keep"],
): { preferredOutputLocation?: Record<string, "cpu" | "gpu-buffer"> } {
  if (!keep || provider !== "webgpu") return {};
  return {
    preferredOutputLocation: Object.fromEntries(outputs.map((name) => [name, keep(name) ? "gpu-buffer" : "cpu"])),
  };
}

/** Divides the results of a run. With other providers, a kept tensor is in host memory. */
export function dividedOutputs(
  results: Readonly<Record<string, unknown>>,
  keep: SessionOptions["keep"] = () => false,
): KeptRun {
  const outputs: Record<string, HostTensor> = {};
  const kept: Record<string, DeviceTensor> = {};
  for (const [name, tensor] of Object.entries(results as Record<string, RuntimeTensor>)) {
    const { type, dims: shape } = tensor;
    const dtype = type as HostTensor["dtype"];
    if (keep(name)) kept[name] = { dtype, shape, held: tensor, dispose: () => tensor.dispose() };
    else outputs[name] = { dtype, shape, data: tensor.data } as HostTensor;
  }
  return { outputs, kept };
}

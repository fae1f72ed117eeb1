/** What users read when a runtime has no memory or its device fails. */

import { type Mistake, UserError } from "../core/errors.ts";

/** The texts of onnxruntime, of its WebGPU provider, and of WebAssembly. */
const memory =
  /bad_alloc|Failed to allocate|out.?of.?memory|memory access out of bounds|exceeds the max buffer size limit/i;
const lost = /WebGPU device lost|external Instance reference no longer exists/;
const failed = /WebGPU device error\(|WebGPU validation failed|Failed to download data from buffer/;

/** The error to throw for one of a runtime: `mistake` says what there is not enough memory for. Others stay as they are. */
export const memoryFailure = (error: Error, mistake: Mistake): Error =>
  memory.test(error.message) ? new UserError(mistake, { cause: error }) : error;

/** The same, and a sentence for a device that failed. The studio has words of its own for that, and continues on the CPU. */
export function runtimeFailure(error: Error, noMemory: Mistake): Error {
  const { message } = error;
  if (memory.test(message)) return memoryFailure(error, noMemory);
  const hint = ["run this again with fewer images at a time", { do: "use the CPU", setting: "device", value: "cpu" }];
  if (lost.test(message))
    return new UserError(
      { problem: "the GPU was lost: its driver stopped or reset it, often because a run took too long", hint },
      { cause: error },
    );
  const line = message.split("\n").find((one) => failed.test(one));
  return line === undefined ? error : new UserError({ problem: `the GPU failed: ${line}`, hint }, { cause: error });
}

/** Tests whether a provider works on this machine. */

import { float32 } from "../core/arrays.ts";
import { add, input } from "../graph/build.ts";
import { type OnnxModel, writeOnnx } from "../graph/onnx.ts";
import type { Session } from "./engine.ts";

/** Runs a minimal graph. Returns the first line of the error, or undefined if it works. */
export async function trialFailure(open: (model: OnnxModel) => Promise<Session>): Promise<string | undefined> {
  try {
    const session = await open(writeOnnx({ y: add(input("x", "float32", [1]), 1) }));
    const { y } = await session.run({ x: float32([1], [1]) });
    await session.dispose();
    return y.data[0] === 2 ? undefined : `1 + 1 gave ${y.data[0]}`;
  } catch (error) {
    // Omits the location in onnxruntime's sources, which does not help users.
    return (error as Error).message.split("\n")[0].replace(/^\/onnxruntime_src\/.* was false\. /, "");
  }
}

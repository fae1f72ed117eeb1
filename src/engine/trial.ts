/** Tests whether a provider works on this machine. */

import { float32 } from "../core/arrays.ts";
import { add, input, matmul } from "../graph/build.ts";
import type { Precision } from "../graph/form.ts";
import { type OnnxModel, writeOnnx } from "../graph/onnx.ts";
import type { Session } from "./engine.ts";

/** Runs a minimal graph in a precision. Returns the first line of the error, or undefined if it works. */
export async function trialFailure(
  open: (model: OnnxModel) => Promise<Session>,
  precision: Precision = "float32",
): Promise<string | undefined> {
  try {
    const x = input("x", "float32", [1, 1]);
    const session = await open(
      writeOnnx({ y: precision === "float16" ? matmul(x, add(x, 1)) : add(x, 1) }, { precision }),
    );
    const { y } = await session.run({ x: float32([1], [1, 1]) });
    await session.dispose();
    return y.data[0] === 2 ? undefined : `a calculation gave ${y.data[0]} instead of 2`;
  } catch (error) {
    // Omits the location in onnxruntime's sources, which does not help users.
    return (error as Error).message.split("\n")[0].replace(/^\/onnxruntime_src\/.* was false\. /, "");
  }
}

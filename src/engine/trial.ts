/** Tests whether a provider and a precision work on this machine. */

import { float32 } from "../core/arrays.ts";
import { add, input, matmul } from "../graph/build.ts";
import type { Precision } from "../graph/form.ts";
import { type OnnxModel, writeOnnx } from "../graph/onnx.ts";
import type { Engine, Provider, Session } from "./engine.ts";

/** An engine on the requested provider in the requested precision, or on the CPU or in float32 if that fails a trial. */
export async function triedEngine<P extends Provider>(
  { provider, precision }: { provider: P | "cpu"; precision: Precision },
  open: (provider: P | "cpu") => Engine["session"],
): Promise<Engine> {
  if (provider !== "cpu") {
    const reason = await trialFailure(open(provider));
    if (reason)
      return { provider: "cpu", fallback: `${provider} is not available here: ${reason}`, session: open("cpu") };
  }
  if (precision === "float16") {
    // The CPU has no products in float16: onnxruntime would compute in float32.
    const reason = provider === "cpu" ? "only GPUs have it" : await trialFailure(open(provider), precision);
    if (reason)
      return { provider, fallback: `float16 is not available on ${provider} here: ${reason}`, session: open(provider) };
  }
  return { provider, precision, session: open(provider) };
}

/** Runs a minimal graph in a precision. Returns the first line of the error, or undefined if it works. */
async function trialFailure(
  open: (model: OnnxModel) => Promise<Session>,
  precision: Precision = "float32",
): Promise<string | undefined> {
  try {
    const x = input("x", "float32", [1, 1]);
    const session = await open(
      writeOnnx({ y: precision === "float16" ? matmul(x, add(x, 1)) : add(x, 1) }, { precision }),
    );
    const { y } = await session.run({ x: float32([1], [1, 1]) }).finally(() => session.dispose());
    return y.data[0] === 2 ? undefined : `a calculation gave ${y.data[0]} instead of 2`;
  } catch (error) {
    // Omits the location in onnxruntime's sources, which does not help users.
    return (error as Error).message.split("\n")[0].replace(/^\/onnxruntime_src\/.* was false\. /, "");
  }
}

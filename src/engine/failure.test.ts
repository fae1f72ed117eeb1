/** The texts of runtimes as users read them. */

import { expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { runtimeFailure } from "./failure.ts";

const told = (message: string) => runtimeFailure(new Error(message), { problem: "there is not enough memory" });

it.each([
  "std::bad_alloc",
  "Failed to allocate memory for requested buffer of size 99",
  "Non-zero status code: Buffer size (4294967296) exceeds the max buffer size limit (2147483648).",
  "Aborted(OOM): Out of memory",
])("%s is a lack of memory", (message) => {
  expect(told(message)).toEqual(new UserError("there is not enough memory"));
});

it("a lost device and other failures of a GPU have their own sentences, and say what to do", () => {
  const hint = "; run this again with fewer images at a time or use the CPU";
  expect(told("WebGPU device lost (1): A valid external Instance reference no longer exists.")).toEqual(
    new UserError(`the GPU was lost: its driver stopped or reset it, often because a run took too long${hint}`),
  );
  for (const text of [
    "WebGPU device error(2): bad",
    "WebGPU validation failed. bad",
    "Failed to download data from buffer. wgpu::MapAsyncStatus value: 4",
  ])
    // prettier-ignore
    expect(told(`where it was\n${text}\nmore`)).toEqual(new UserError(`the GPU failed: ${text}${hint}`));
});

it("any other error stays as it is", () => {
  const error = new Error("a bug");
  expect(runtimeFailure(error, {})).toBe(error);
});

/** How a graph is written for an engine. */

/** The type in which products are computed; everything else is computed in float32. */
export type Precision = "float32" | "float16";

/** What a graph is written for: the operators that its provider has, and the precision of its products. */
export interface Form {
  precision?: Precision;
  /** Avoid operators that onnxruntime's WebGPU provider leaves to the CPU; elsewhere they are faster. */
  webgpu?: boolean;
}

/** The form for an engine. */
export const formFor = ({ provider, precision }: { provider: string; precision?: Precision }): Form => ({
  precision,
  webgpu: provider === "webgpu",
});

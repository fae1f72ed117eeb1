/**
 * How much a test run repeats. CI runs everything. By default, tests that only repeat what another test shows (with another
 * variant, or with a real installation) are skipped, and random kills and races happen less often.
 */

/** Whether this run repeats everything: in CI, or with FRACTALGEN_TEST_ALL=1. */
export const thorough: boolean = Boolean(process.env["CI"]) || process.env["FRACTALGEN_TEST_ALL"] === "1";

/** Of tests for several variants, all or only the first ones. */
export const firstOf = <T>(variants: readonly T[], count = 1): readonly T[] =>
  thorough ? variants : variants.slice(0, count);

const webGpu = process.env["FRACTALGEN_TEST_WEBGPU"];
/** Whether WebGPU is also tested on software drivers, which takes minutes: FRACTALGEN_TEST_WEBGPU=1, or "all" for every case. */
export const softwareWebGpuTests: { some: boolean; all: boolean } = {
  some: webGpu === "1" || webGpu === "all",
  all: webGpu === "all",
};

/** Draws bytes: single pixels, guiding pixels, and on a device the pixels of several steps in one run. */

import { type DrawValues, formOf } from "../config/sampling.ts";
import { float32, type HostTensor } from "../core/arrays.ts";
import type { Decoding, DrawnPatches } from "../levels/kind.ts";
import { guidingRows, patchesAt, type Squares } from "./draws.ts";
import { type Run, ways } from "./run.ts";
import type { StepSession } from "./sessions.ts";

/** Draws bytes of level l, one pixel for each row; also returns their probabilities if `watched`. */
export async function drawPixels(
  run: Run,
  l: number,
  {
    rows,
    conditions,
    guidance,
    watched = false,
  }: { rows: Squares; conditions: HostTensor; guidance: number; watched?: boolean },
): Promise<DrawnPatches> {
  const settings = run.drawing.get(l)!;
  const session = await run.sessions.pixels(l, run.guided, { form: formOf(settings), probabilities: watched });
  const uniforms = uniformsOf(run, rows);
  const result = await session.run({ conditions, uniforms, ...settingFeeds(settings, guidance) });
  return {
    bytes: result.bytes.data as Int32Array,
    probabilities: result.probabilities?.data as Float32Array | undefined,
  };
}

/** Draws the guiding pixels of squares of level l: mean colours as values [R', C]. */
export async function guidingColour(
  run: Run,
  l: number,
  rows: Squares,
  conditions: HostTensor,
  guidance: number,
): Promise<HostTensor> {
  const { bytes } = await drawPixels(run, l, { rows: guidingRows(rows), conditions, guidance });
  const values = valuesOfBytes(run, bytes);
  const { channels } = run.config;
  return float32(run.guided ? twice(values) : values, [(values.length / channels) * ways(run), channels]);
}

function twice(values: Float32Array): Float32Array {
  const both = new Float32Array(values.length * 2);
  both.set(values);
  both.set(values, values.length);
  return both;
}

/**
 * How a device draws several steps in one run. It does not where pixels are known, or where guidance may change from
 * step to step.
 */
export function drawingSteps(
  run: Run,
  l: number,
  rows: Squares,
  { session, mask, guidance }: { session: StepSession; mask: Float32Array; guidance: number },
): Decoding["drawing"] {
  const { drawing } = session;
  if (!drawing || l === 0 || mask.includes(0)) return undefined;
  const { channels } = run.config;
  const settings = run.drawing.get(l + 1)!;
  return {
    steps: drawing.steps,
    async run(chosen, feeds) {
      run.signal?.throwIfAborted();
      const uniforms = chosen.map((part) => uniformsOf(run, patchesAt(rows, part, run.levels[l])));
      const own = { uniforms, ...settingFeeds(settings, guidance) };
      const options = { count: chosen.length, form: formOf(settings), probabilities: run.watch !== undefined };
      const { bytes, probabilities, kept } = await drawing.run({ ...(feeds as object), ...own }, options);
      let end = 0;
      const drawn = chosen.map(({ row }) => {
        const [from, to] = [end, (end += row.length * channels)];
        return {
          bytes: (bytes.data as Int32Array).subarray(from, to),
          probabilities: (probabilities?.data as Float32Array | undefined)?.subarray(from * 256, to * 256),
        };
      });
      return { drawn, kept };
    },
  };
}

/** Puts drawn pixels into the images, shows them to `watch`, and returns their values. */
export function finishedPixels(
  run: Run,
  { image, x, y }: Squares,
  { bytes, probabilities }: DrawnPatches,
): Float32Array {
  const { imageSize, channels } = run.config;
  if (probabilities) run.watch?.({ image: image.map((i) => i + run.given.first), x, y, bytes, probabilities });
  for (let i = 0; i < image.length; i++) {
    const at = (((run.given.first + image[i]) * imageSize + y[i]) * imageSize + x[i]) * channels;
    for (let c = 0; c < channels; c++) run.images[at + c] = bytes[i * channels + c];
    run.progress.add(run.given.first + image[i], 1);
  }
  return valuesOfBytes(run, bytes);
}

/** The normalised values of bytes [M, C]. */
function valuesOfBytes({ config: { channels }, given }: Run, bytes: Int32Array): Float32Array {
  const values = new Float32Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) values[i] = given.values[(i % channels) * 256 + bytes[i]];
  return values;
}

const uniformsOf = ({ draws, config: { channels } }: Run, rows: Squares): HostTensor =>
  float32(draws.uniforms(rows, channels), [rows.keys.length, channels]);

/** Guidance and settings as inputs of a graph: scalars, or [C]. */
function settingFeeds(settings: DrawValues, guidance: number): Record<string, HostTensor> {
  const feed = (value: number | readonly number[]) =>
    typeof value === "number" ? float32([value], []) : float32([...value], [value.length]);
  return {
    guidance: feed(guidance),
    ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, feed(value)])),
  };
}

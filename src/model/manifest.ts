/**
 * Sampling's step graphs for use by other programs: the list of graphs, and a description that lets such a program draw
 * images with them. Knows no weights and no files.
 */

import { drawingLevels, type ModelConfig, placedLevels } from "../config/model.ts";
import { drawNames, drawValues, formOf, samplingSetting } from "../config/sampling.ts";
import { normalizedValues } from "../core/normalize.ts";
import { requirements, type WeightData, writeOnnx } from "../graph/onnx.ts";
import { is, type Tensor, topological } from "../graph/tensor.ts";
import { named } from "../graph/tree.ts";
import { directionsRead } from "../levels/grid.ts";
import { levelKinds } from "../levels/table.ts";
import { beginGraph, type Outputs, pixelGraph, stepGraph } from "./steps.ts";

interface StepGraph {
  /** Its file, such as "level0-step-guided.onnx". */
  file: string;
  /** What running it does. */
  does: string;
  outputs: Outputs;
}

/** Every graph that sampling with the model's own settings may need, with and without guidance. */
function stepGraphs(config: ModelConfig): StepGraph[] {
  const both = (name: string, does: string, graph: (guided: boolean) => Outputs): StepGraph[] => [
    { file: `${name}.onnx`, does: `${does}, without guidance`, outputs: graph(false) },
    { file: `${name}-guided.onnx`, does: `${does}, with guidance`, outputs: graph(true) },
  ];
  const pixels = (l: number) => (guided: boolean) => {
    const place = drawingLevels(config).indexOf(l);
    return pixelGraph(config, l, { guided, form: formOf(drawValues(config.sampling, place, { guided })) });
  };
  const levels = placedLevels(config).flatMap((level, l) => [
    ...(level.guidingPixel
      ? both(`level${l}-guiding`, "draws the mean colours of squares of this level", pixels(l))
      : []),
    {
      file: `level${l}-begin.onnx`,
      does: "embeds the conditions of squares of this level",
      outputs: beginGraph(config, l),
    },
    ...both(`level${l}-step`, "runs one step in squares of this level", (guided) =>
      named(stepGraph(config, l, { guided })),
    ),
  ]);
  return [...levels, ...both("pixels", "draws pixels", pixels(config.levels.length - 1))];
}

/** The graphs as ONNX files, one at a time; `weights` says where a parameter is. */
export function* stepModels(
  config: ModelConfig,
  weights: (name: string) => WeightData,
): Generator<{ file: string; bytes: Uint8Array }> {
  for (const { file, outputs } of stepGraphs(config)) yield { file, bytes: writeOnnx(outputs, { weights }).bytes };
}

interface Value {
  name: string;
  type: string;
  /** Numbers, and products of the letters explained in `letters`. */
  shape: readonly (number | string)[];
  meaning: string;
}

/** The description as JSON: the model's dimensions, each graph's inputs and outputs, and the order of calls. */
export function manifest(config: ModelConfig, { weights }: { weights: string }) {
  const { name, imageSize, channels, classes, sampling } = config;
  const levels = placedLevels(config);
  const values = normalizedValues(channels);
  const ways = (base: string) => ({ plain: `${base}.onnx`, guided: `${base}-guided.onnx` });
  return {
    format: "fractalgen step graphs",
    version: 1,
    name,
    weights,
    requires: requirements(stepGraphs(config).map(({ outputs }) => outputs)),
    ...(config.dtype === "q8" ? { sessionOptions: exactProducts } : {}),
    imageSize,
    channels,
    classes,
    nullClass: classes.length,
    sampling: { ...sampling, iterations: sampling.iterations ?? levels.map(({ tokens }) => tokens) },
    levels: levels.map((level, l) => ({
      kind: level.kind,
      side: level.size,
      patch: level.patch,
      grid: level.grid,
      tokens: level.tokens,
      before: beginGraph(config, l).prefix.shape[1] as number,
      depth: level.depth,
      ...(level.heads === undefined ? {} : { heads: level.heads, headWidth: level.width / level.heads }),
      conditionsFrom: directionsRead(level.conditionsRead),
      ...(level.guidingPixel ? { guiding: ways(`level${l}-guiding`) } : {}),
      begin: `level${l}-begin.onnx`,
      step: ways(`level${l}-step`),
    })),
    pixels: ways("pixels"),
    values: Array.from({ length: channels }, (_, c) => [...values.subarray(c * 256, (c + 1) * 256)]),
    letters: letters(),
    graphs: Object.fromEntries(
      stepGraphs(config).map(({ file, does, outputs }) => [
        file,
        {
          does,
          inputs: inputsOf(outputs),
          outputs: Object.entries(outputs).map(([name, tensor]) => value(name, tensor)),
        },
      ]),
    ),
    calls: calls(),
  };
}

/** Without this option, sums of int8 products saturate on some processors. */
const exactProducts = { "session.x64quantprecision": "1" };

function inputsOf(outputs: Outputs): Value[] {
  return topological(Object.values(outputs)).flatMap((tensor) =>
    is(tensor, "input") ? [value(tensor.attributes.name, tensor)] : [],
  );
}

function value(name: string, { dtype, shape }: Tensor): Value {
  const meaning = meanings()[name.replace(/\d+$/, "i")];
  if (meaning === undefined) throw new Error(`manifest: no meaning is given for ${name}`);
  return { name, type: dtype, shape, meaning };
}

const letters = (): Record<string, string> => ({
  R: "rows: squares of a level that are drawn together; twice as many in a begin graph with guidance",
  M: "patches or pixels drawn in this run, over all rows; twice as many in a step graph with guidance",
  ...Object.fromEntries(
    levelKinds()
      .flatMap(({ exported }) => Object.entries(exported.letters))
      .sort(),
  ),
});

const meanings = (): Record<string, string> => ({
  labels: "class numbers; nullClass for an unconditional row",
  conditions: "outputs of a level for each patch, used as conditions by squares of the next level or by pixels",
  colour: "mean colours drawn by the guiding graph, as values (not bytes)",
  prefix: "the tokens before a square's patches",
  ...Object.assign({}, ...levelKinds().map(({ exported }) => exported.meanings)),
  uniforms: "random numbers in [0, 1), one for each channel of each pixel",
  guidance: "guidance strength at this step",
  ...Object.fromEntries(
    drawNames.map((name) => [
      name,
      `sampling.${name}, one number or one for each channel: ${samplingSetting(name).help}`,
    ]),
  ),
  bytes: "the drawn pixels, one byte per channel",
});

const calls = (): string[] => [
  "An image is one square of level 0. To draw R images, draw R rows of level 0, with their class numbers as labels. A guidance of 1 means no guidance: use the plain graphs. With guidance, use the guided ones: wherever a shape contains 2*R or 2*M, and for R in a begin graph and the conditions of a pixel graph, the conditional rows come first, followed by the same rows without their condition; at level 0 the latter have nullClass as their label. Below, grid, tokens and other numbers are those of the level being drawn.",
  "To draw squares of a level, given labels (level 0) or conditions (other levels): if the level has a guiding graph, run it on the conditions and convert its bytes to values; these are the input colour, repeated twice with guidance. Run the begin graph to get prefix. Then perform the level's steps, which draw every patch of every row.",
  "A sampling setting that is a list has one entry for each graph that draws bytes (guiding graphs in the order of their levels, then pixels), or a single entry for all of them; an entry that is itself a list has one number per channel. A graph has an input for each setting that the model sets; a setting that is off in all graphs is not an input.",
  "The value of byte b in channel c is values[c][b].",
  ...levelKinds().map(({ name, exported }) => `Steps of a level of kind ${name}: ${exported.steps}`),
  "Drawing the contents of patches, row by row and in ascending order within a row: above the pixels, draw squares of the next level with the step's conditions; at the last level, run pixels on the conditions to get the bytes of single pixels. A patch's values are those of the square inside it, [channels, side, side], or of its pixel.",
  `The guidance strength g is sampling.guidance if the schedule is constant. If it is linear, the strength depends on the step of level 0 and applies to everything drawn within that step: 1 + (g - 1) * done, where done is ${levelKinds()
    .map(({ name, exported }) => `${exported.done} for ${name}`)
    .join(" and ")}. A guiding graph uses the strength of the enclosing step.`,
  "Patch k of a square is at row floor(k / grid) and column k mod grid of its grid, and covers patch x patch pixels.",
];

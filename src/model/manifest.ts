/**
 * Sampling's step graphs for programs other than this one: which there are, and a description by which such a program
 * can draw images with them. Knows no weights and no files.
 */

import { drawingLevels, type ModelConfig, placedLevels, prefixTokens } from "../config/model.ts";
import { drawNames, drawValues, formOf, samplingSetting } from "../config/sampling.ts";
import { normalizedValues } from "../core/normalize.ts";
import { is, type Tensor, topological } from "../graph/tensor.ts";
import { named } from "../graph/tree.ts";
import { directionsRead } from "../levels/grid.ts";
import { levelKinds } from "../levels/table.ts";
import { beginGraph, type Outputs, pixelGraph, stepGraph } from "./steps.ts";

export interface StepGraph {
  /** Its file, such as "level0-step-guided.onnx". */
  file: string;
  /** What a run of it does. */
  does: string;
  outputs: Outputs;
}

/** Every graph that sampling with the model's own settings can need, those with guidance and those without. */
export function stepGraphs(config: ModelConfig): StepGraph[] {
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
      ? both(`level${l}-guiding`, "draws the mean colours that squares of this level begin with", pixels(l))
      : []),
    {
      file: `level${l}-begin.onnx`,
      does: "embeds what squares of this level begin with",
      outputs: beginGraph(config, l),
    },
    ...both(`level${l}-step`, "one step in squares of this level", (guided) => named(stepGraph(config, l, { guided }))),
  ]);
  return [...levels, ...both("pixels", "draws pixels", pixels(config.levels.length - 1))];
}

interface Value {
  name: string;
  type: string;
  /** Numbers, and products of the letters that `letters` explains. */
  shape: readonly (number | string)[];
  meaning: string;
}

/** The description, as JSON: the model's numbers, each graph's inputs and outputs, and the order of calls. */
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
      before: prefixTokens(level),
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

/** Without it some processors lose high bits in products of bytes. */
const exactProducts = { "session.x64quantprecision": "1" };

function inputsOf(outputs: Outputs): Value[] {
  return topological(Object.values(outputs)).flatMap((tensor) =>
    is(tensor, "input") ? [value(tensor.attributes.name, tensor)] : [],
  );
}

function value(name: string, { dtype, shape }: Tensor): Value {
  const meaning = meanings()[name.replace(/\d+$/, "i")];
  if (meaning === undefined) throw new Error(`manifest: nobody says what ${name} means`);
  return { name, type: dtype, shape, meaning };
}

const letters = (): Record<string, string> => ({
  R: "rows: squares of a level that are drawn side by side; in a begin graph twice as many with guidance",
  M: "patches or pixels that are drawn in this run, of all rows; in a step graph twice as many with guidance",
  ...Object.fromEntries(
    levelKinds()
      .flatMap(({ exported }) => Object.entries(exported.letters))
      .sort(),
  ),
});

const meanings = (): Record<string, string> => ({
  labels: "class numbers; nullClass for a row without condition",
  conditions: "what a level hands down to each patch: to squares of the next level, or to pixels",
  colour: "values (not bytes) of the mean colours that the guiding graph drew",
  prefix: "the tokens before a square's patches",
  ...Object.assign({}, ...levelKinds().map(({ exported }) => exported.meanings)),
  uniforms: "random numbers from 0 up to 1, one for each channel of each pixel",
  guidance: "strength of guidance at this step",
  ...Object.fromEntries(
    drawNames.map((name) => [
      name,
      `sampling.${name}, one number or one for each channel: ${samplingSetting(name).help}`,
    ]),
  ),
  bytes: "the pixels drawn, a byte for each channel",
});

const calls = (): string[] => [
  "An image is one square of level 0. To draw R images, draw R rows of level 0, with their class numbers as labels. Guidance of 1 means none: then take the plain graphs. With guidance take the guided ones: wherever a shape says 2*R or 2*M, and for a begin graph's R and a pixel graph's conditions, the rows with their condition come first and the same rows without it behind them; at level 0 the latter have nullClass as their label. All numbers that follow are of the level that is drawn.",
  "To draw squares of a level, given labels (level 0) or conditions (below): where the level has a guiding graph, run it on the conditions, and turn its bytes into values; these, twice with guidance, are colour. Run begin for prefix. Then take the level's steps, which give every patch of every row.",
  "A setting of sampling that is a list has an entry for each graph that draws, guiding graphs in the order of their levels and then pixels, or one entry for all of them; an entry that is a list itself has a number for each channel. Graphs take those that the model sets; what is off in all graphs is no input.",
  "Turn a byte b of channel c into its value by values[c][b].",
  ...levelKinds().map(({ name, exported }) => `Steps of a level of kind ${name}: ${exported.steps}`),
  "What stands in the patches, row after row and in ascending number within a row: squares of the next level, with the step's conditions; below the last level single pixels: run pixels on the conditions for their bytes. A patch's values are those of the square in it, [channels, side, side], or of its pixel.",
  `The strength of guidance g is sampling.guidance with the schedule constant. With linear it follows the step of level 0, and holds for everything drawn inside of that step: 1 + (g - 1) * done, where done is ${levelKinds()
    .map(({ name, exported }) => `${exported.done} for ${name}`)
    .join(" and ")}. A guiding graph of level l takes the strength of the step around it.`,
  "Patch number k of a square lies at row floor(k / grid) and column k mod grid of its grid, and takes patch by patch pixels.",
];

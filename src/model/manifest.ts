/**
 * Sampling's step graphs for programs other than this one: which there are, and a description by which such a program
 * can draw images with them. Knows no weights and no files.
 */

import { conditionsRead, drawingLevels, type ModelConfig, placedLevels, prefixTokens } from "../config/model.ts";
import { normalizedValues } from "../config/normalize.ts";
import { drawNames, drawValues, formOf, samplingSetting } from "../config/sampling.ts";
import { is, type Tensor, topological } from "../graph/tensor.ts";
import { directionsRead } from "./plan.ts";
import { arStepGraph, beginGraph, guidingPixels, lastPixels, marStepGraph, type Outputs, pixelGraph } from "./steps.ts";

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
  const form = (l: number, guided: boolean) =>
    formOf(drawValues(config.sampling, drawingLevels(config).indexOf(l), { guided }));
  const levels = placedLevels(config).flatMap((level, l) => [
    ...(hasGuiding(level)
      ? both(`level${l}-guiding`, "draws the mean colours that squares of this level begin with", (guided) =>
          pixelGraph(config, guidingPixels(config, l), { guided, form: form(l, guided) }),
        )
      : []),
    {
      file: `level${l}-begin.onnx`,
      does: "embeds what squares of this level begin with",
      outputs: beginGraph(config, l),
    },
    ...both(`level${l}-step`, "one step in squares of this level", (guided) =>
      (level.kind === "ar" ? arStepGraph : marStepGraph)(config, l, { guided }),
    ),
  ]);
  const pixels = (guided: boolean) =>
    pixelGraph(config, lastPixels(config), { guided, form: form(config.levels.length - 1, guided) });
  return [...levels, ...both("pixels", "draws pixels", pixels)];
}

const hasGuiding = (level: ReturnType<typeof placedLevels>[number]): boolean =>
  level.kind === "mar" && level.guidingPixel;

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
      heads: level.heads,
      headWidth: level.width / level.heads,
      conditionsFrom: level.kind === "mar" ? directionsRead(conditionsRead(config, l)) : [[0, 0]],
      ...(hasGuiding(level) ? { guiding: ways(`level${l}-guiding`) } : {}),
      begin: `level${l}-begin.onnx`,
      step: ways(`level${l}-step`),
    })),
    pixels: ways("pixels"),
    values: Array.from({ length: channels }, (_, c) => [...values.subarray(c * 256, (c + 1) * 256)]),
    letters,
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
    calls,
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
  const meaning = meanings[name.replace(/\d+$/, "i")];
  if (meaning === undefined) throw new Error(`manifest: nobody says what ${name} means`);
  return { name, type: dtype, shape, meaning };
}

const letters = {
  R: "rows: squares of a level that are drawn side by side; in a begin graph twice as many with guidance",
  M: "patches or pixels that are drawn in this run, of all rows; in a step graph twice as many with guidance",
  L: "positions that there is room for, at least as many as were drawn before",
  r: "tokens of each row whose outputs are computed",
};

const meanings: Record<string, string> = {
  labels: "class numbers; nullClass for a row without condition",
  conditions: "what a level hands down to each patch: to squares of the next level, or to pixels",
  colour: "values (not bytes) of the mean colours that the guiding graph drew",
  prefix: "the tokens before a square's patches",
  patches: "the patches drawn so far as values, each [channels, patch, patch] end to end; zeros where not drawn",
  mask: "1 for a patch that is not drawn yet, 0 for one that is",
  read: "numbers of the tokens whose outputs are needed; patch n is token before + n",
  take: "which of all outputs read, counted through all rows, are each patch's conditions; their count for none",
  patch: "values of the patch before this one; zeros at the first",
  position: "number of the patch that is to be drawn",
  "keys.i": "keys of block i at the positions before, each in its row",
  "values.i": "values of block i at the positions before, each in its row",
  seen: "0 for a position before this one, -1e30 for room that is still empty",
  "key.i": "what goes into keys.i at this position",
  "value.i": "what goes into values.i at this position",
  uniforms: "random numbers from 0 up to 1, one for each channel of each pixel",
  guidance: "strength of guidance at this step",
  ...Object.fromEntries(
    drawNames.map((name) => [
      name,
      `sampling.${name}, one number or one for each channel: ${samplingSetting(name).help}`,
    ]),
  ),
  bytes: "the pixels drawn, a byte for each channel",
};

const calls = [
  "An image is one square of level 0. To draw R images, draw R rows of level 0, with their class numbers as labels. Guidance of 1 means none: then take the plain graphs. With guidance take the guided ones: wherever a shape says 2*R or 2*M, and for a begin graph's R and a pixel graph's conditions, the rows with their condition come first and the same rows without it behind them; at level 0 the latter have nullClass as their label. All numbers that follow are of the level that is drawn.",
  "To draw squares of a level, given labels (level 0) or conditions (below): where the level has a guiding graph, run it on the conditions, and turn its bytes into values; these, twice with guidance, are colour. Run begin for prefix. Then take the level's steps, which give every patch of every row.",
  "Turn a byte b of channel c into its value by values[c][b].",
  "Steps of a level of kind mar: n = min(tokens, sampling.iterations of the level). Every row has a random order of its patches. masked begins as tokens. In step s from 0: next = max(1, min(masked - 1, floor(tokens * cos(pi / 2 * (s + 1) / n)))); until = next, but 0 in the last step; the patches to draw are those at until, until + 1, ... masked - 1 of the row's order, in ascending number; then masked = until. Where there are none go on with the next step. Run step with patches and mask as they are. read may hold all patches of each row, before to before + tokens - 1; then output number row * tokens + patch is that of a patch. take has for each patch to draw, row after row, the patches at conditionsFrom, [rows down, columns right] in the grid of patches, and for one outside of the grid the number of all outputs read. With guidance take goes through all 2*R rows. Then draw what stands in the patches, put its values into patches and set their mask to 0.",
  "Steps of a level of kind ar: one for each patch in ascending number s, position [s]. keys.i and values.i begin as zeros with room for L positions, such as L = tokens. Run step; put key.i into row s of keys.i and value.i into row s of values.i, for each row and head; and draw what stands in the patch of every row.",
  "What stands in the patches, row after row and in ascending number within a row: squares of the next level, with the step's conditions; below the last level single pixels: run pixels on the conditions for their bytes. A patch's values are those of the square in it, [channels, side, side], or of its pixel.",
  "The strength of guidance g is sampling.guidance with the schedule constant. With linear it follows the step of level 0, and holds for everything drawn inside of that step: 1 + (g - 1) * done, where done is (tokens - next) / tokens for mar and (s + 1) / tokens for ar. A guiding graph of level l takes the strength of the step around it.",
  "Patch number k of a square lies at row floor(k / grid) and column k mod grid of its grid, and takes patch by patch pixels.",
];

/** The part of a training run that is known before its data are opened, checked up front. */

import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { UserError } from "../core/errors.ts";
import type { TrainingName } from "../config/training.ts";
import { dataFormats } from "../data/formats.ts";
import { contentOf } from "../data/open.ts";
import type { ModelFolder } from "../files/model.ts";
import { type DataRecord, loadCheckpoint, type Resumed } from "../train/checkpoint.ts";
import type { RunOptions } from "./options.ts";
import { configFile, type Given } from "./preset.ts";

/** A run before its data are opened: its folder, data, and the checkpoint or model that it starts from. */
export interface Beginning {
  /** The run's folder. */
  out: string;
  /** Describes the data to open. */
  data: DataRecord;
  resumed?: Resumed;
  initial?: readonly ModelFolder[];
  given: Given;
}

/** Reads and checks everything that does not need the data. */
export async function beginning(options: RunOptions): Promise<Beginning> {
  const out = runFolder(options);
  refuseBoth(options, "blr", "learningRate");
  refuseBoth(options, "epochs", "steps");
  if (options.resume !== undefined) {
    const resumed = await loadCheckpoint(join(out, "last"));
    const { dataset } = resumed;
    const data = { ...dataset, source: options.data ?? dataset.source, heldOut: options.heldOut ?? dataset.heldOut };
    checkThere(resumed, data);
    return { out, data, resumed, given: { source: "the run", model: {}, training: {} } };
  }
  if (options.data === undefined)
    throw new UserError({
      subject: { setting: "data" },
      expected: `emoji (built in), ${dataFormats}`,
      got: "none",
    });
  const { initFrom: initial } = options;
  const first = initial?.[0];
  const fixed = first && (["size", "kind", "redWeight"] as const).find((name) => options[name] !== undefined);
  if (fixed)
    throw new UserError({
      subject: { setting: fixed },
      problem: `this is part of the model in ${first.folder}`,
      hint: "leave it out",
    });
  const given = configFile(options.config, options, first?.config);
  const other = first && Object.keys(given.model).find((name) => name !== "levels" && name !== "sampling");
  if (other !== undefined)
    throw new UserError({
      subject: options.config,
      problem: `"${other}" is part of the model in ${first?.folder}`,
      hint: 'leave it out; only "levels" and "sampling" can differ',
    });
  const [imageSize, channels] = (["imageSize", "channels"] as const).map((name) => {
    const said = first ? first.config[name] : (given.model[name] as number | undefined);
    const asked = options[name];
    if (said !== undefined && asked !== undefined && said !== asked)
      throw new UserError({
        subject: { setting: name },
        problem: `got ${asked}, but the model of ${first?.folder ?? given.source} has ${said}`,
        hint: "leave it out to convert the images to the model's format",
      });
    return asked ?? said;
  });
  return { out, data: { ...contentOf(options), source: options.data, imageSize, channels }, initial, given };
}

export const isPath = (heldOut: string | number | undefined): heldOut is string =>
  typeof heldOut === "string" && Number.isNaN(Number(heldOut));

/** Throws a UserError if the run's data are missing: the run or its data may have been moved. */
function checkThere({ dataset: before }: Resumed, { source, heldOut }: DataRecord): void {
  if (source !== "emoji" && source === before.source && !existsSync(source))
    throw new UserError({
      problem: `the data of this run, ${source}, no longer exist`,
      hint: ["restore them", { do: "give their new location", setting: "data" }],
    });
  if (isPath(heldOut) && heldOut === before.heldOut && !existsSync(heldOut))
    throw new UserError({
      problem: `the held-out data of this run, ${heldOut}, no longer exist`,
      hint: ["restore them", { do: "give their new location", setting: "heldOut" }],
    });
}

/** The folder of the run, checked before any work. */
export function runFolder(options: RunOptions): string {
  const { out, resume } = options;
  if (resume !== undefined) {
    const extra = newRunOptions.find((name) => options[name] !== undefined);
    if (extra)
      throw new UserError({
        subject: { setting: extra },
        problem: "a resumed run keeps its own folder and settings",
        hint: "leave it out",
      });
    // `train` prints the path of the checkpoint at its end; accept it as the run's folder.
    return basename(resolve(resume)) === "last" && existsSync(join(resume, "state.json"))
      ? dirname(resolve(resume))
      : resume;
  }
  if (out === undefined)
    throw new UserError({
      subject: { setting: "out" },
      expected: "a folder for the run's checkpoints",
      got: "none",
      hint: { do: "or resume a run", setting: "resume" },
    });
  if (existsSync(join(out, "last")))
    throw new UserError({
      subject: { setting: "out" },
      problem: `${out} already holds a run`,
      hint: [{ do: "resume it", setting: "resume", value: out }, "choose another folder"],
    });
  return out;
}

type RunOption = Exclude<keyof RunOptions, TrainingName>;

/** For each option that is not a training setting, whether it applies only to new runs or also to resumed ones. */
const runOptions = {
  out: "new",
  config: "new",
  initFrom: "new",
  size: "new",
  kind: "new",
  recipe: "new",
  redWeight: "new",
  imageSize: "new",
  channels: "new",
  group: "new",
  skipSmall: "new",
  sets: "new",
  classNames: "new",
  data: "both",
  resume: "both",
  heldOut: "both",
  flip: "both",
  epochs: "both",
  blr: "both",
  memory: "both",
  gpuMemory: "both",
} as const satisfies Record<RunOption, "new" | "both">;

type NewRunOption = { [N in RunOption]: (typeof runOptions)[N] extends "new" ? N : never }[RunOption];

/** Options that apply only to new runs. */
export const newRunOptions = (Object.keys(runOptions) as RunOption[]).filter(
  (name): name is NewRunOption => runOptions[name] === "new",
);

/** Throws a UserError if both of two equivalent options are given. */
function refuseBoth(options: RunOptions, one: keyof RunOptions, other: keyof RunOptions): void {
  if (options[one] !== undefined && options[other] !== undefined)
    throw new UserError({
      subject: { setting: one },
      problem: `it sets the same thing as ${other}`,
      hint: { do: "leave one of the two out", setting: other },
    });
}

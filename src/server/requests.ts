/** From a request's body to an order: everything is checked here, before anything waits. */

import { randomInt } from "node:crypto";
import { labelsInTurn, parseClasses } from "../config/classes.ts";
import { type SamplingName, samplingNames, samplingSetting } from "../config/sampling.ts";
import { readSetting } from "../config/setting.ts";
import { UserError } from "../core/errors.ts";
import { snakeCase } from "../core/names.ts";
import { settingsOf } from "../sample/settings.ts";
import type { Capacity } from "./capacity.ts";
import { knownPictures, type MaskRule } from "./edits.ts";
import { modelNamed, type ServedModel } from "./models.ts";
import type { Order } from "./queue.ts";
import { type GenerationRequest, parsed, type Requests, samplingIn } from "./schemas.ts";

/** An order with what its answer tells beside the images. */
export interface Asked {
  order: Order;
  /** Whether the answer is a stream, and how often it shows unfinished images. */
  stream: boolean;
  partial: number;
  maskRule?: MaskRule;
}

export interface RequestContext {
  models: readonly ServedModel[];
  schemas: Requests;
  batchOf: Capacity["batchOf"];
  /** The most images of a request. */
  images: number;
}

const kindOf = (request: Request): string =>
  (request.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();

export const isForm = (request: Request): boolean => kindOf(request) === "multipart/form-data";

/** A generation, from JSON. */
export async function readGeneration(request: Request, context: RequestContext): Promise<Asked> {
  if (kindOf(request) !== "application/json")
    throw new UserError(
      `the body has to be JSON (Content-Type: application/json), got ${kindOf(request) || "no type"}`,
    );
  const body = parsed(context.schemas.GenerationRequest, parseJson(await request.text()));
  return { order: orderOf(body, context), ...streaming(body) };
}

/** An edit, from a form with files. */
export async function readEdit(request: Request, context: RequestContext): Promise<Asked> {
  if (!isForm(request))
    throw new UserError(
      `the body has to be a form with files (multipart/form-data), got ${kindOf(request) || "no type"}`,
    );
  const form = await request.formData().catch(() => {
    throw new UserError("the body is no form with files: it does not follow its own Content-Type");
  });
  const body = parsed(context.schemas.EditRequest, fieldsOf(form));
  const order = orderOf(body, context);
  const { known, rule } = await knownPictures(body, order);
  return { order: { ...order, known }, maskRule: rule, ...streaming(body) };
}

const streaming = ({ stream, partial_images: partial }: GenerationRequest) => ({
  stream: stream ?? false,
  partial: partial ?? 0,
});

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UserError(`the body is not JSON: ${(error as Error).message.replaceAll(/\s+/g, " ")}`);
  }
}

function orderOf(body: GenerationRequest, { models, batchOf, images }: RequestContext): Order {
  const model = modelNamed(models, body.model ?? undefined);
  const { config } = model;
  const own = `${config.imageSize}x${config.imageSize}`;
  if (body.size && body.size !== "auto" && body.size !== own)
    throw new UserError({
      subject: { setting: "size" },
      problem: `the model ${model.name} draws ${own}`,
      got: JSON.stringify(body.size),
      hint: "leave it out",
    });
  if (body.response_format === "url")
    throw new UserError({
      subject: { setting: "response_format" },
      problem: "images are answered as b64_json; no files are kept that a url could name",
    });
  const choices = parseClasses(body.prompt, config);
  const count = body.n ?? choices.length;
  if (count > images)
    throw new UserError({
      subject: { setting: "prompt" },
      problem: `it names ${count} classes`,
      expected: `at most the ${images} images of a request, or n`,
    });
  const settings = settingsOf(samplingIn(body), config);
  return {
    model,
    labels: labelsInTurn(choices, count),
    seed: body.seed ?? randomInt(2 ** 31),
    settings,
    batch: batchOf(model, settings),
  };
}

const numeric = new Set(["n", "ring", "partial_images", "seed"]);

/** A form's fields as JSON would have them: numbers, lists (`iterations[]` or "32,16"), settings, files. */
function fieldsOf(form: FormData): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const key of new Set(form.keys())) {
    const name = key.replace(/\[\d*\]$/, "");
    const all = form.getAll(key);
    const [first] = all;
    const setting = samplingNames.find((one) => snakeCase(one) === name);
    if (setting) fields[name] = settingIn(setting, all.map(String));
    else if (all.length > 1) throw several(name, all);
    else if (typeof first !== "string") fields[name] = first;
    else if (numeric.has(name)) fields[name] = numberOf(first);
    else if (name === "stream") fields[name] = { true: true, false: false }[first] ?? first;
    else fields[name] = first;
  }
  return fields;
}

/** The text itself where it is no number, so that the schema says what was expected. */
const numberOf = (text: string): number | string =>
  text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);

/** Several texts are the parts of a list. The text itself where it is no value of the setting. */
function settingIn(name: SamplingName, texts: readonly string[]): unknown {
  const setting = samplingSetting(name);
  const listed = setting.kind === "wholes" || setting.kind === "spread";
  if (!listed && texts.length > 1) throw several(name, texts);
  try {
    return readSetting(name, setting, texts.join());
  } catch {
    return setting.kind === "wholes" ? texts.flatMap((text) => text.split(",")).map(numberOf) : numberOf(texts.join());
  }
}

const several = (setting: string, { length }: ArrayLike<unknown>): UserError =>
  new UserError({ subject: { setting }, expected: "one", got: String(length) });

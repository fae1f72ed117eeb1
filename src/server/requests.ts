/** Reads a request's body into an order. Everything is validated here, before the order is queued. */

import { randomInt } from "node:crypto";
import { z } from "zod";
import { labelsInTurn, parseClasses } from "../config/classes.ts";
import { type SamplingName, samplingNames, samplingSetting } from "../config/sampling.ts";
import { isListed, readSetting } from "../config/setting.ts";
import { UserError } from "../core/errors.ts";
import { snakeCase } from "../core/names.ts";
import { settingsOf } from "../sample/settings.ts";
import { type Bodies, joinedChunks } from "./bodies.ts";
import type { Capacity } from "./capacity.ts";
import { knownPictures, type MaskRule } from "./edits.ts";
import type { Look } from "./encoding.ts";
import { type FormParts, readForm } from "./forms.ts";
import { modelNamed, type ServedModel } from "./models.ts";
import type { DrawingOrder } from "./queue.ts";
import { type GenerationRequest, type Limits, parsed, type Requests, samplingIn } from "./schemas.ts";
import { scaleFor } from "./sizes.ts";

/** An order with everything else that its answer depends on. */
export interface Asked {
  order: DrawingOrder;
  look: Look;
  /** Whether images are returned as data: URLs. */
  asUrl: boolean;
  /** Whether the answer is a stream, and how many times it sends partial images. */
  stream: boolean;
  partial: number;
  maskRule?: MaskRule;
}

export interface RequestContext {
  models: readonly ServedModel[];
  schemas: Requests;
  batchOf: Capacity["batchOf"];
  bodies: Bodies;
  limits: Pick<Limits, "images" | "body" | "json">;
}

const kindOf = (request: Request): string =>
  (request.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();

const isForm = (request: Request): boolean => kindOf(request) === "multipart/form-data";

const wrongKind = (request: Request, needed: string) =>
  new UserError({ problem: `the body must be ${needed}`, got: kindOf(request) || "no Content-Type" });

/** Reads a form as an edit and anything else as a generation. */
export const readEither = (request: Request, context: RequestContext): Promise<Asked> =>
  (isForm(request) ? readEdit : readGeneration)(request, context);

/** Reads a generation from JSON. */
export async function readGeneration(request: Request, context: RequestContext): Promise<Asked> {
  if (kindOf(request) !== "application/json") throw wrongKind(request, "JSON (Content-Type: application/json)");
  const bytes = await context.bodies.read(request, context.limits.json, joinedChunks);
  const body = parsed(context.schemas.GenerationRequest, parseJson(bytes));
  return askedBy(body, await orderOf(body, context));
}

/** Reads an edit from a form with files. */
export async function readEdit(request: Request, context: RequestContext): Promise<Asked> {
  if (!isForm(request)) throw wrongKind(request, "a form with files (multipart/form-data)");
  const type = request.headers.get("content-type")!;
  return context.bodies.read(request, context.limits.body, async (chunks) => {
    const body = parsed(
      context.schemas.EditRequest,
      fieldsOf(await readForm(type, chunks), context.schemas.EditRequest.shape),
    );
    const pictures = [body.image].flat();
    const order = await orderOf(body, context, pictures.length);
    const { known, rule } = await knownPictures({ ...body, pictures }, order);
    return { ...askedBy(body, { ...order, known }), maskRule: rule };
  });
}

function askedBy(body: GenerationRequest, order: DrawingOrder): Asked {
  const look = {
    format: body.output_format ?? "png",
    quality: body.output_compression ?? 100,
    scale: scaleFor(body.size, order.model.config.imageSize),
  };
  const asUrl = body.response_format === "url";
  return { order, look, asUrl, stream: body.stream ?? false, partial: body.partial_images ?? 0 };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    // The rest of the message quotes the body, so it is left out.
    const at = / at position (\d+)/.exec((error as Error).message)?.[1];
    throw new UserError({
      problem: `the body is not JSON${at === undefined ? "" : `: syntax error at character ${at}`}`,
    });
  }
}

async function orderOf(
  body: GenerationRequest,
  { models, batchOf, limits }: RequestContext,
  pictures = 1,
): Promise<DrawingOrder> {
  const model = modelNamed(models, body.model ?? undefined);
  const { config } = model;
  const choices = parseClasses(body.prompt, config);
  const count = body.n ?? Math.max(choices.length, pictures);
  if (count > limits.images)
    throw new UserError({
      subject: { setting: "prompt" },
      problem: `it names ${count} classes`,
      expected: `at most ${limits.images} (the limit per request) unless n is given`,
    });
  const settings = settingsOf(samplingIn(body), config);
  return {
    model,
    labels: labelsInTurn(choices, count),
    seed: body.seed ?? randomInt(2 ** 31),
    settings,
    batch: await batchOf(model, settings),
  };
}

/** Converts a form's fields to the values of a JSON body: numbers, lists (`iterations[]` or "32,16"), settings, files. */
function fieldsOf(form: FormParts, shape: Readonly<Record<string, z.ZodType>>): Record<string, unknown> {
  const parts = new Map<string, (string | Uint8Array)[]>();
  for (const [key, values] of form) {
    const name = key.replace(/\[\d*\]$/, "");
    parts.set(name, [...(parts.get(name) ?? []), ...values]);
  }
  const fields: Record<string, unknown> = {};
  for (const [name, all] of parts) {
    const [first] = all;
    const setting = samplingNames.find((one) => snakeCase(one) === name);
    if (setting) fields[name] = settingIn(setting, all.map(String));
    else if (name === "image") fields[name] = all.length === 1 ? first : all;
    else if (all.length > 1) throw several(name, all);
    else if (typeof first !== "string") fields[name] = first;
    else fields[name] = fromText(first, shape[name]);
  }
  return fields;
}

/** The number or boolean that the schema expects, or else the text itself, so that the schema reports what was expected. */
function fromText(text: string, schema: z.ZodType | undefined): unknown {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable)
    return fromText(text, schema.unwrap() as z.ZodType);
  if (schema instanceof z.ZodBoolean) return { true: true, false: false }[text] ?? text;
  return schema instanceof z.ZodNumber && text.trim() !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}

/** The most characters of a setting in a form, longer than any valid value. */
const settingMost = 5000;

/** Parses a setting; several texts are the items of a list. */
function settingIn(name: SamplingName, texts: readonly string[]): unknown {
  const setting = samplingSetting(name);
  if (texts.reduce((sum, text) => sum + text.length, 0) > settingMost)
    throw new UserError({ subject: { setting: name }, expected: `at most ${settingMost} characters` });
  if (!isListed(setting) && texts.length > 1) throw several(name, texts);
  return readSetting(name, setting, texts.join());
}

const several = (setting: string, { length }: ArrayLike<unknown>): UserError =>
  new UserError({ subject: { setting }, expected: "one value", got: String(length) });

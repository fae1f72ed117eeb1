/** Test helpers: clients of a listening server, and the same images drawn by the library. */

import OpenAI from "openai";
import sharp from "sharp";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { edit, type EditOptions } from "../sample/edit.ts";
import { createSampler, type Frame, type SampleOptions, type Sampler } from "../sample/sampler.ts";
import type { FractalServer } from "./app.ts";
import { type Listening, listen } from "./listen.ts";
import type { ServedModel } from "./models.ts";

export const listening = (server: FractalServer): Promise<Listening> => listen(server, { host: "127.0.0.1", port: 0 });

/** OpenAI's own client, without retries by default. */
export const clientOf = ({ url }: Listening, { maxRetries = 0 } = {}): OpenAI =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries });

/** OpenAI's parameters plus our own, which its clients pass through. */
export const generate = (client: OpenAI, options: Record<string, unknown>, { signal }: { signal?: AbortSignal } = {}) =>
  client.images.generate({ prompt: "cat", ...options } as OpenAI.ImageGenerateParamsNonStreaming, { signal });

export async function metric({ url }: Listening, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split("\n").find((line) => line.startsWith(`${name} `));
  return Number(line?.slice(name.length));
}

export const imagesIn = (at: Listening, state: "waiting" | "running") =>
  metric(at, `fractalgen_queue_images{state="${state}"}`);

export const png = (base64?: string) => Buffer.from(base64!, "base64");
export const pixels = async (base64?: string) => new Uint8Array(await sharp(png(base64)).raw().toBuffer());

export const drawnBy = ({ folder }: ServedModel, options: SampleOptions): Promise<Uint8Array> =>
  withSampler(folder, (sampler) => sampler.sample(options));

export const editedBy = (
  { folder }: ServedModel,
  { image, mask, ...options }: EditOptions & { image: Uint8Array; mask: Uint8Array },
): Promise<Uint8Array> => withSampler(folder, (sampler) => edit(sampler, image, mask, options));

async function withSampler(
  folder: ServedModel["folder"],
  draw: (sampler: Sampler) => AsyncGenerator<Frame, Uint8Array>,
): Promise<Uint8Array> {
  const sampler = createSampler(await nodeEngine({ threads: 1 }), externalModel(folder));
  const frames = draw(sampler);
  for (;;) {
    const next = await frames.next();
    if (!next.done) continue;
    await sampler.dispose();
    return next.value;
  }
}

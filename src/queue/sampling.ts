/** Jobs that draw images. */

import type { ModelFolder } from "../files/model.ts";
import type { Sampler } from "../sample/sampler.ts";
import { openSampler } from "../workers/sampler.ts";
import type { JobOf, Results } from "./jobs.ts";
import { cachedModel } from "./objects.ts";
import { engineFor, type JobKind } from "./job-kind.ts";

type SampleJob = JobOf<"sample">;

/** A model whose sampling threads stay open. */
export const openSampling: JobKind<SampleJob, Results["sample"]> = {
  key: ({ model, settings, labels, precision }) => JSON.stringify([model, settings, labels.length, precision]),
  async open(context, { model: name, settings, labels, precision }) {
    const { store, threads } = context;
    const engine = await engineFor(context, precision);
    const model: ModelFolder = await cachedModel(store, name);
    const { length: count } = labels;
    const { sampler, batch } = openSampler(engine, model, { ...complete(settings), count, batch: count, threads });
    return {
      async run({ labels, indices, seed, settings, known }, { area, signal }) {
        const given = known && {
          images: await store.get(area, known.images),
          mask: await store.get(area, known.mask),
        };
        const options = { ...settings, labels, indices, seed, known: given, batch, signal };
        return { images: await store.put(area, await lastOf(sampler, options)) };
      },
      dispose: () => sampler.dispose(),
    };
  },
};

/** The settings of a job are complete except for those that are off. */
const complete = (settings: SampleJob["settings"]) => settings as Parameters<typeof openSampler>[2];

async function lastOf(sampler: Sampler, options: Parameters<Sampler["sample"]>[0]): Promise<Uint8Array> {
  const frames = sampler.sample(options);
  for (;;) {
    const { done, value } = await frames.next();
    if (done) return value;
  }
}

/** Jobs that score images. */

import { evenly } from "../data/dataset.ts";
import { likelihoods, likelihoodSession } from "../evaluate/likelihood.ts";
import { externalModel } from "../files/external.ts";
import type { JobOf, Results, ScoredImage } from "./jobs.ts";
import { cachedModel, openData } from "./objects.ts";
import { engineFor, type JobKind } from "./job-kind.ts";

/** A model's compiled likelihood and a data set. */
export const openLikelihood: JobKind<JobOf<"likelihood">, Results["likelihood"]> = {
  key: ({ model, data, breakdown, precision }) => JSON.stringify([model, data, breakdown, precision]),
  async open(context, { model: name, data, breakdown, precision }) {
    const { store, datasets } = context;
    const engine = await engineFor(context, precision);
    const model = externalModel(await cachedModel(store, name));
    const dataset = datasets?.get(data.file) ?? (await openData(store, data));
    const session = await likelihoodSession(engine, model, { breakdown });
    return {
      async run({ part, images, from, to, inOrder, passes, conditional, seed, batch }, { signal }) {
        const split = evenly(part === "train" ? dataset.train : dataset.heldOut, images);
        const options = { inOrder, passes, conditional, seed, batch, breakdown, from, to, session, signal };
        const scored: ScoredImage[] = [];
        for await (const { index, bits, channels, guiding, breakdown } of likelihoods(engine, model, split, options))
          scored.push({ index, bits, channels, guiding, breakdown: breakdown && plain(breakdown) });
        return { scored };
      },
      dispose: () => session.dispose(),
    };
  },
};

const plain = (sums: { likeliest: Float64Array[]; levels: Float64Array[] }) => ({
  likeliest: sums.likeliest.map((one) => Array.from(one)),
  levels: sums.levels.map((one) => Array.from(one)),
});

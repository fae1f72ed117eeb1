// throwaway
import { readFileSync } from "node:fs";
import { parseModelConfig } from "../src/config/model.ts";
import { emojiPreset } from "../src/config/presets.ts";
import { nodeEngine } from "../src/engine/node.ts";
import { trainingMasks } from "../src/train/batches.ts";
import { startingState } from "../src/train/checkpoint.ts";
import { trainingStep } from "../src/train/step.ts";
const [file, micro, rounds, profile, threads] = process.argv.slice(2);
const given = JSON.parse(readFileSync(file, "utf8"));
const model = parseModelConfig({ ...emojiPreset.model, classes: [..."abcdefghijklmn"], ...given.model }, "x");
import { measuring } from "./engine.ts";
const engine = await nodeEngine({ ...(profile && profile !== "-" ? { profile } : {}), ...(threads ? { threads: +threads } : {}) });
const step = await trainingStep(engine, model, {});
const { values } = startingState(model, 0, { ema: 0 });
const images = 32, bytes = 32 * 32 * 3;
const data = { images: Uint8Array.from({ length: images * bytes }, (_, i) => (i * 2654435761) >>> 24), labels: Int32Array.from({ length: images }, (_, i) => i % 14) };
for (let r = 0; r < +rounds; r++) { const t = performance.now(); const x = await step.run(values, data, { masks: process.env.FULL ? (_l, rows, t) => new Uint8Array(rows.image.length * t).fill(1) : trainingMasks(0, r), microBatch: +micro }); console.log(((performance.now() - t) / 1000).toFixed(3), x.loss, (239/((performance.now() - t) / 1000)).toFixed(0)+" GFLOP/s"); }
await step.dispose();

/**
 * `npm run bench -- scaling`: which level deserves more operations. The speedrun's model is trained with each of its
 * levels at half, once and twice its width, the others unchanged; steps and images are the same.
 */

import { givenIn, type Run, type SpeedrunOptions, speedrun, speedrunLevels } from "./speedrun.ts";

export interface ScalingBench extends SpeedrunOptions {
  seeds: number[];
}

/** The factors of a level's width. */
const factors = [0.5, 1, 2];
const names = ["first", "second", "pixel"];

type Sized = Pick<Run, "bits" | "teraflop" | "seconds">;

export async function benchScaling({ seeds, ...options }: ScalingBench): Promise<void> {
  const { kind, json } = options;
  const levels = speedrunLevels(kind);
  const { model, training } = givenIn(options.config);
  const withWidth = (level: number, factor: number) => ({
    training,
    model: { ...model, levels: levels.map((own, l) => (l === level ? { ...own, width: own.width * factor } : own)) },
  });
  async function mean(level: number, factor: number): Promise<Sized> {
    const runs: Run[] = [];
    for (const seed of seeds) runs.push(await speedrun(seed, { ...options, json: true }, withWidth(level, factor)));
    const of = (value: (run: Run) => number) => runs.reduce((sum, run) => sum + value(run), 0) / runs.length;
    return { bits: of(({ bits }) => bits), teraflop: of((run) => run.teraflop), seconds: of((run) => run.seconds) };
  }
  function report(level: string, width: number, sized: Sized): void {
    if (json) console.log(JSON.stringify({ level, width, ...sized }));
    else
      console.log(
        `${level.padEnd(7)} width ${String(width).padStart(3)}: ${sized.bits.toFixed(3)} bits per dimension, ${sized.teraflop.toFixed(1)} TFLOP, ${sized.seconds.toFixed(0)} s`,
      );
  }

  const usual = await mean(0, 1);
  report("all", levels[0].width, usual);
  for (const [level, { width }] of levels.entries()) {
    const points: Sized[] = [];
    for (const factor of factors) {
      const sized = factor === 1 ? usual : await mean(level, factor);
      if (factor !== 1) report(names[level], factor * width, sized);
      points.push(sized);
    }
    const perDoubling = slope(points.map(({ teraflop, bits }) => [Math.log2(teraflop), bits]));
    if (json) console.log(JSON.stringify({ level: names[level], bitsPerDoubling: perDoubling }));
    else
      console.log(
        `${names[level].padEnd(7)} ${perDoubling.toFixed(3)} bits for each doubling of a run's operations by its width`,
      );
  }
}

/** The slope of the line through points [x, y] with the least squared error. */
function slope(points: readonly (readonly [number, number])[]): number {
  const mean = (of: (point: readonly [number, number]) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean(([x]) => x), mean(([, y]) => y)];
  return mean((point) => (point[0] - x) * (point[1] - y)) / mean((point) => (point[0] - x) ** 2);
}

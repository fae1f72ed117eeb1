/**
 * The order in which a MAR level decodes the patches of its squares, and which outputs each step needs. Runs no graphs.
 */

import { type HostTensor, int32 } from "../core/arrays.ts";
import { directionsRead, neighbour } from "./grid.ts";
import { type Patches, type Placed, prefixTokens } from "./kind.ts";
import { maskedAfter } from "./order.ts";

export interface DecodingStep {
  /** Number of this step, from 0, and the number of steps of the square that takes the most. */
  step: number;
  steps: number;
  /** The patches that this step decodes, row by row, in ascending order within a row. */
  chosen: Patches;
  /** How many patches of each row its schedule has decoded after this step. */
  decoded: Int32Array;
}

/**
 * The steps that decode the patches marked in `mask` [R, N]. Each square follows its own cosine schedule of at most
 * `iterations` steps and takes patches from the end of its order.
 */
export function* decodingSteps(
  orders: Int32Array,
  mask: Float32Array,
  { tokens, iterations }: { tokens: number; iterations: number },
): Generator<DecodingStep> {
  const rows = Array.from({ length: orders.length / tokens }, (_, row) => {
    const order = orders.subarray(row * tokens, (row + 1) * tokens).filter((place) => mask[row * tokens + place] !== 0);
    return { order, masked: order.length, steps: Math.min(order.length, iterations) };
  });
  const steps = Math.max(...rows.map((row) => row.steps));
  const decoded = new Int32Array(rows.length).fill(tokens);
  for (let step = 0; step < steps; step++) {
    const chosen: { row: number[]; place: number[] } = { row: [], place: [] };
    rows.forEach((own, row) => {
      if (step >= own.steps) return;
      const next = maskedAfter(step, own.steps, own.order.length, own.masked);
      const until = step === own.steps - 1 ? 0 : next;
      for (const place of own.order.slice(until, own.masked).sort()) {
        chosen.row.push(row);
        chosen.place.push(place);
      }
      own.masked = until;
      decoded[row] = tokens - next;
    });
    if (chosen.row.length === 0) continue;
    yield {
      step,
      steps,
      chosen: { row: Int32Array.from(chosen.row), place: Int32Array.from(chosen.place) },
      decoded,
    };
  }
}

/**
 * Which tokens' outputs the step computes (`read`), and where among them each chosen patch finds its conditions
 * (`take`). If few patches are chosen, only the tokens around them are read; if many, all patches are read once. Rows
 * that need fewer tokens are padded with their first patch.
 */
export function readAndTake(
  { row, place }: Patches,
  level: Placed,
  { ways, rows }: { ways: number; rows: number },
): { read: HostTensor; take: HostTensor } {
  const { tokens, grid } = level;
  const before = prefixTokens(level);
  const around = directionsRead(level.conditionsRead);
  const taken = new Int32Array(rows);
  const nth = row.map((own) => taken[own]++); // rank among the chosen patches of its row
  const each = Math.max(...taken) * around.length;
  const all = each >= tokens;
  const length = all ? tokens : each;
  const total = ways * rows * length;
  const read = new Int32Array(total).fill(before);
  const take = new Int32Array(ways * place.length * around.length);
  if (all) for (let i = 0; i < read.length; i++) read[i] = before + (i % tokens);
  for (let way = 0; way < ways; way++)
    for (let i = 0; i < place.length; i++) {
      const from = (way * rows + row[i]) * length;
      for (let d = 0; d < around.length; d++) {
        const other = neighbour(place[i], grid, around[d]);
        const slot = all ? other : nth[i] * around.length + d;
        if (!all) read[from + slot] = before + Math.max(0, other);
        take[(way * place.length + i) * around.length + d] = other < 0 ? total : from + slot;
      }
    }
  return { read: int32(read, [ways * rows, length]), take: int32(take, [ways * place.length, around.length]) };
}

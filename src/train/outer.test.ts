/** The outer step against its formula, and differences as bytes. */

import { describe, expect, it } from "vitest";
import { decodeDifference, differenceTypes, encodeDifference } from "./differences.ts";
import { meanDifference, outerStep } from "./outer.ts";
import { packed, packedMoments, unpacked, unpackedMoments } from "./packed.ts";
import { startingState } from "./state.ts";
import { tinyModel } from "./tiny.ts";

describe("the outer step", () => {
  it("is the mean of the replicas' weights with a rate of 1 and no momentum", () => {
    const values = Float32Array.of(1, 2, 3);
    const replicas = [Float32Array.of(0, 2, 4), Float32Array.of(1, 3, 8)];
    const sum = meanDifference(3);
    for (const replica of replicas) sum.add(values.map((value, i) => value - replica[i]));
    outerStep(values, new Float32Array(3), sum.mean(), { rate: 1, momentum: 0 });
    expect([...values]).toEqual([0.5, 2.5, 6]);
  });

  it("is Nesterov's otherwise", () => {
    const [values, momentum] = [Float32Array.of(1), Float32Array.of(0.5)];
    outerStep(values, momentum, Float64Array.of(0.25), { rate: 0.5, momentum: 0.5 });
    expect(momentum[0]).toBe(0.5); // 0.5 * 0.5 + 0.25
    expect(values[0]).toBe(0.75); // 1 - 0.5 * (0.25 + 0.5 * 0.5)
  });
});

describe("differences", () => {
  const values = () => Float32Array.from({ length: 700 }, (_, i) => Math.sin(i) / (1 + (i % 300)));

  it.each(differenceTypes)("as %s come back, and what is lost is left", (type) => {
    const rest = values();
    const bytes = encodeDifference(rest, type);
    const sent = decodeDifference(bytes, 700, type);
    const most = { float32: 0, float16: 2 ** -11, int8: 1 / 127 }[type];
    values().forEach((value, i) => {
      expect(Math.abs(rest[i])).toBeLessThanOrEqual(most);
      expect(sent[i] + rest[i]).toBeCloseTo(value, 6);
    });
    expect(bytes.length).toBe({ float32: 2800, float16: 1400, int8: 712 }[type]);
    expect(() => decodeDifference(bytes, 701, type)).toThrow(/takes/);
  });

  it("as int8 lose nothing in the long run", () => {
    let [rest, total] = [new Float32Array(700), new Float64Array(700)];
    for (let round = 0; round < 50; round++) {
      rest = values().map((value, i) => value + rest[i]);
      const bytes = encodeDifference(rest, "int8");
      decodeDifference(bytes, 700, "int8").forEach((value, i) => (total[i] += value));
    }
    values().forEach((value, i) => expect(Math.abs(total[i] / 50 - value)).toBeLessThan(1 / 127 / 40));
  });
});

/** Arrays by name as text: comparing them number by number takes minutes. */
const asText = (arrays: Iterable<[string, Float32Array | undefined]>): string[] =>
  [...arrays].map(([name, data = new Float32Array()]) =>
    [name, Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64")].join(" "),
  );

it.each(["adamw", "muon"] as const)("weights and moments of %s survive packing", (optimizer) => {
  const model = tinyModel();
  const { values, moments } = startingState(model, 1, { ema: 0, optimizer });
  let next = 0;
  for (const { first, second } of moments.values()) for (const one of [first, second]) one?.fill(next++);
  expect(asText(unpacked(model, packed(model, values)))).toEqual(asText(values));
  const all = packedMoments(model, moments, Float32Array.of(7, 8));
  const found = unpackedMoments(model, { optimizer }, { all, count: 2 });
  expect([...found.rest]).toEqual([7, 8]);
  for (const part of ["first", "second"] as const) {
    const parts = (of: typeof moments) => asText([...of].map(([name, both]) => [name, both[part]]));
    expect(parts(found.moments)).toEqual(parts(moments));
  }
  expect(() => unpackedMoments(model, { optimizer }, { all, count: 1 })).toThrow(/expected/);
});

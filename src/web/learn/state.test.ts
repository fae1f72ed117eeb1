/** The states of the training page: what each message and each action changes. */

import { expect, it } from "vitest";
import { inWords, type PageEvent, reduce, type State, trainingIn } from "./state.ts";

const after = (...events: PageEvent[]) => events.reduce<State>(reduce, { kind: "idle" });
const step = (number: number, bits = 4, seconds = 1): PageEvent => ({ kind: "step", step: number, bits, seconds });
const begun: PageEvent[] = [{ kind: "started" }, { kind: "opening", share: 0.57 }, { kind: "ready", device: "wasm" }];

it("says what it does until the first step", () => {
  expect(inWords(after(...begun.slice(0, 1)))).toBe("Starting…");
  expect(inWords(after(...begun.slice(0, 2)))).toBe("Fetching the program (50%)…");
  expect(inWords(after(...begun))).toBe("Compiling the model and its gradients…");
  expect(inWords(after(...begun, step(1)))).toBe("Training on WASM, 1 thread.");
  const ready: PageEvent = { kind: "ready", device: "wasm", reason: "WebGPU did not start." };
  expect(inWords(after({ kind: "started" }, ready, step(1)))).toBe("Training on WASM, 1 thread. WebGPU did not start.");
});

it("keeps the curve of a training, and forgets it when it starts over", () => {
  const events = [...begun, step(1, 8, 9), step(2, 4), step(3, 4)];
  const state = after(...events, { kind: "heldOut", step: 3, bits: 5 });
  const { curve, seconds } = trainingIn(state);
  expect(curve.steps.map(({ bits }) => bits)).toEqual([8, 4, 4]);
  expect(curve.smooth.map(({ bits }) => bits)).toEqual([8, 6, 6 - 2 / 3]);
  expect(curve.heldOut).toEqual([{ step: 3, bits: 5 }]);
  expect(seconds).toEqual([1, 1]); // without the first step
  const failed = reduce(state, { kind: "failed", message: "It stopped." });
  expect([failed.kind, inWords(failed), trainingIn(failed).curve]).toEqual(["failed", "", curve]);
  expect(trainingIn(reduce(failed, { kind: "reset" })).curve.steps).toEqual([]);
});

it("pauses after the step that is under way, and continues", () => {
  const pausing = after(...begun, step(1), { kind: "pausing" });
  expect(inWords(pausing)).toBe("Pausing…");
  const paused = [step(2), { kind: "paused" } as const].reduce(reduce, pausing);
  expect([paused.kind, inWords(paused)]).toEqual(["paused", "Paused after step 2."]);
  expect(reduce(paused, { kind: "resumed" }).kind).toBe("training");
  // The worker's answer to a pause that was taken back.
  expect(reduce(reduce(pausing, { kind: "resumed" }), { kind: "paused" }).kind).toBe("training");
});

it("ignores what does not apply: a second start, a pause before the first step, messages of a training that is over", () => {
  const [started, ended] = [after(...begun), after(...begun, step(1), { kind: "ended" })];
  expect(reduce(started, { kind: "started" })).toBe(started);
  expect(reduce(started, { kind: "pausing" })).toBe(started);
  expect(reduce(ended, step(2))).toBe(ended);
  expect(after(step(1))).toEqual({ kind: "idle" });
});

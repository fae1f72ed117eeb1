/** The states of the page: transitions, and the actions allowed in each. */

import { describe, expect, it } from "vitest";
import type { Settings } from "./address.ts";
import { newRecording } from "./recording.ts";
import { allowed, type PageEvent, reduce, type ShownDrawing, shownIn, type State } from "./state.ts";

const drawing = (id: number, settings: Partial<Settings> = {}): ShownDrawing => ({
  id,
  recording: newRecording({ count: 1, size: 2, channels: 3, patches: [1] }),
  settings: { classes: [0], count: 1, seed: id, selected: 0, device: "auto", ...settings } as Settings,
});
const edit = { image: new Uint8Array(12), mask: new Uint8Array(4) };
const after = (...happenings: PageEvent[]) => happenings.reduce<State>(reduce, { kind: "empty" });
const began = (id: number, settings?: Partial<Settings>): PageEvent => ({
  kind: "began",
  drawing: drawing(id, settings),
});
const ended: PageEvent = { kind: "ended" };
const shownId = (state: State) => shownIn(state)?.id;

describe("undo", () => {
  it("goes from an edit back to its original, once", () => {
    const edited = after(began(1), ended, began(2, { edit }), ended);
    expect(allowed(edited, { marked: false }).undo).toBe(true);
    const back = reduce(edited, { kind: "undone" });
    expect(shownId(back)).toBe(1);
    expect(shownIn(back)?.settings.seed).toBe(1);
    expect(allowed(back, { marked: false }).undo).toBe(false);
    expect(reduce(back, { kind: "undone" })).toBe(back);
  });

  it("goes from the user's own picture, or a failed drawing, back to the previous one", () => {
    const uploaded = after(began(1), ended, { kind: "uploaded", drawing: drawing(2) });
    expect(shownId(reduce(uploaded, { kind: "undone" }))).toBe(1);
    const failed = after(began(1), ended, began(2), { kind: "failed" });
    expect(failed.kind).toBe("shown");
    expect(shownId(reduce(failed, { kind: "undone" }))).toBe(1);
  });

  it("is not possible after a new drawing", () => {
    const fresh = after(began(1), ended, began(2, { edit }), ended, began(3), ended);
    expect(allowed(fresh, { marked: true })).toMatchObject({ undo: false, redraw: true });
  });
});

it("draws only one drawing at a time", () => {
  const during = after(began(1));
  expect(reduce(during, began(2))).toBe(during);
  expect(reduce(during, { kind: "uploaded", drawing: drawing(2) })).toBe(during);
  expect(reduce(during, { kind: "undone" })).toBe(during);
  const can = allowed(during, { marked: true });
  expect(Object.entries(can).flatMap(([action, is]) => (is ? [action] : []))).toEqual(["cancel"]);
  expect(reduce(after(), ended)).toEqual({ kind: "empty" });
});

it("stores with each drawing what is shown of it", () => {
  const state = after(
    began(1),
    ended,
    { kind: "selected", image: 3 },
    { kind: "moved", step: 5 },
    { kind: "viewed", view: "entropy" },
  );
  expect(shownIn(state)?.settings).toMatchObject({ selected: 3, step: 5, view: "entropy" });
  expect(shownIn(reduce(state, { kind: "viewed", view: "image" }))?.settings.view).toBeUndefined();
});

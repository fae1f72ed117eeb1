/** The page's states, events and allowed actions. Independent of the page's elements. */

import type { Settings } from "./address.ts";
import type { Recording } from "./recording.ts";
import type { ViewKind } from "./shown.ts";

/** A drawing and its settings, of which `selected`, `step` and `view` determine what is shown. */
export interface ShownDrawing {
  readonly id: number;
  readonly recording: Recording;
  readonly settings: Settings;
}

export type State =
  | { kind: "empty" }
  /** `previous` was shown before the drawing began; `before` was then the target of undo. */
  | { kind: "drawing"; shown: ShownDrawing; previous?: ShownDrawing; before?: ShownDrawing }
  /** `before` is the target of undo. */
  | { kind: "shown"; shown: ShownDrawing; before?: ShownDrawing };

export type PageEvent =
  | { kind: "began"; drawing: ShownDrawing }
  | { kind: "ended" }
  /** The drawing ended with an error; the part drawn so far is shown. */
  | { kind: "failed" }
  /** The user's own picture is shown. */
  | { kind: "uploaded"; drawing: ShownDrawing }
  | { kind: "undone" }
  | { kind: "selected"; image: number }
  /** Without a step, the whole drawing is shown. */
  | { kind: "moved"; step?: number }
  | { kind: "viewed"; view: ViewKind };

/** Returns the next state. Events that do not apply to the state leave it unchanged. */
export function reduce(state: State, event: PageEvent): State {
  switch (event.kind) {
    case "began": {
      if (state.kind === "drawing") return state;
      const { shown: previous, before } = state.kind === "shown" ? state : {};
      return { kind: "drawing", shown: event.drawing, previous, before };
    }
    case "uploaded":
      if (state.kind === "drawing") return state;
      return { kind: "shown", shown: event.drawing, before: shownIn(state) };
    case "ended": {
      if (state.kind !== "drawing") return state;
      const { shown, previous, before } = state;
      return { kind: "shown", shown, before: shown.settings.edit ? (previous ?? before) : undefined };
    }
    case "failed":
      return state.kind === "drawing"
        ? { kind: "shown", shown: state.shown, before: state.previous ?? state.before }
        : state;
    case "undone":
      return state.kind === "shown" && state.before ? { kind: "shown", shown: state.before } : state;
    case "selected":
      return withSettings(state, { selected: event.image });
    case "moved":
      return withSettings(state, { step: event.step });
    case "viewed":
      return withSettings(state, { view: event.view === "image" ? undefined : event.view });
  }
}

export const shownIn = (state: State): ShownDrawing | undefined => (state.kind === "empty" ? undefined : state.shown);

function withSettings(state: State, changes: Partial<Settings>): State {
  if (state.kind === "empty") return state;
  return { ...state, shown: { ...state.shown, settings: { ...state.shown.settings, ...changes } } };
}

export type Action =
  | "draw"
  | "next-seed"
  | "cancel"
  | "save-image"
  | "save-all"
  | "save-animation"
  | "share"
  | "redraw"
  | "undo"
  | "upload"
  | "start-tour";

/** The actions allowed in a state; `marked` says whether any pixels are marked for redrawing. */
export function allowed(state: State, { marked }: { marked: boolean }): Record<Action, boolean> {
  const rests = state.kind === "shown";
  const steps = rests && state.shown.recording.steps.length > 0;
  return {
    draw: state.kind !== "drawing",
    "next-seed": state.kind !== "drawing",
    cancel: state.kind === "drawing",
    "save-image": rests,
    "save-all": rests,
    "save-animation": steps,
    share: rests,
    redraw: rests && marked,
    undo: rests && state.before !== undefined,
    upload: state.kind !== "drawing",
    "start-tour": steps,
  };
}

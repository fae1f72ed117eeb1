/** The guided tour as a card next to the picture. It opens automatically until finished or skipped, and again with its button. */

import { byId, make } from "./elements.ts";
import { remember, remembered } from "./memory.ts";
import type { TourStep } from "./tour-steps.ts";

export interface Tour {
  /** Starts the tour unless it was skipped or finished before. */
  offer(): void;
  close(): void;
}

const seen = "fractalgen-tour-seen";

/** `steps` returns the tour of the current drawing; `onStep` shows a step. */
export function createTour({
  steps,
  onStep,
  onEnd,
}: {
  steps: () => TourStep[];
  onStep: (step: TourStep) => void;
  /** Called when the tour is skipped or finished after its first step. */
  onEnd: () => void;
}): Tour {
  const card = byId("tour");
  let all: TourStep[] = [];
  let at = 0;

  const button = (text: string, options: { id: string; primary?: boolean; onClick: () => void }) => {
    const made = make("button", { type: "button", id: options.id, className: options.primary ? "primary" : "" }, text);
    made.addEventListener("click", options.onClick);
    return made;
  };
  const close = () => {
    card.hidden = true;
    card.replaceChildren();
  };
  const end = () => {
    remember("local", seen);
    close();
    byId("start-tour").focus();
    if (at > 0) onEnd();
  };
  const show = (to: number, { focus = true } = {}) => {
    at = to;
    const { title, text } = all[at];
    const dots = all.map((_, i) => make("i", { className: i === at ? "now" : "" }));
    const isLast = at === all.length - 1;
    card.replaceChildren(
      make("p", { className: "dots", ariaLabel: `Step ${at + 1} of ${all.length}`, role: "img" }, ...dots),
      make("h2", { id: "tour-title", tabIndex: -1 }, title),
      make("p", {}, text),
      make(
        "div",
        { className: "row" },
        button(at === 0 ? "Start" : isLast ? "Done" : "Next", {
          id: "tour-next",
          primary: true,
          onClick: () => (isLast ? end() : show(at + 1)),
        }),
        ...(at > 0 ? [button("Back", { id: "tour-back", onClick: () => show(at - 1) })] : []),
        ...(isLast ? [] : [button("Skip the tour", { id: "tour-skip", onClick: end })]),
      ),
    );
    card.hidden = false;
    onStep(all[at]);
    if (!focus) return;
    byId("tour-title").focus({ preventScroll: true }); // makes screen readers announce it
    card.scrollIntoView({ block: "nearest" });
  };
  const start = (options?: { focus: boolean }) => {
    all = steps();
    if (all.length > 0) show(0, options);
  };
  card.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    end();
  });
  byId("start-tour").addEventListener("click", () => start());
  return {
    offer: () => {
      if (!remembered("local", seen)) start({ focus: false });
    },
    close,
  };
}

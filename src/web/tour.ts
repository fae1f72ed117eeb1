/** The guided tour as a card by the picture: opened once by itself, skipped for good, and there again by its button. */

import { byId, make } from "./elements.ts";
import { remember, remembered } from "./memory.ts";
import type { TourStep } from "./tour-steps.ts";

export interface Tour {
  /** By itself, if it was never skipped or finished. */
  offer(): void;
  close(): void;
}

const seen = "fractalgen-tour-seen";

/** `steps` are those of what is shown when it starts; `onStep` shows a step's moment. */
export function createTour({
  steps,
  onStep,
  onEnd,
}: {
  steps: () => TourStep[];
  onStep: (step: TourStep) => void;
  /** It was skipped or finished after it showed other moments. */
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
    byId("tour-title").focus({ preventScroll: true }); // which reads it out
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

/** The slider over the steps of a drawing, with step and play buttons. Independent of what the steps are. */

import { the } from "./elements.ts";

export interface Scrubber {
  /** Sets the number of steps. Moves to `to` if given; otherwise a slider at the end stays at the end. */
  update(steps: number, to?: number): void;
  stop(): void;
  /** Plays from the current step, or from the beginning if at the end. */
  play(): void;
}

/** The time to play a whole drawing, regardless of its number of steps. */
const playSeconds = 12;

export function createScrubber({
  onMove,
  describe,
}: {
  /** `chosen` is true if the user moved it, false if steps were added. */
  onMove: (taken: number, chosen: boolean) => void;
  describe: (taken: number) => string;
}): Scrubber {
  const slider = the("input", "scrubber");
  const [play, back, forward] = [the("button", "play"), the("button", "back"), the("button", "forward")];
  let steps = 0;
  let taken = 0;
  let playing: number | undefined;

  const move = (to: number, chosen: boolean) => {
    taken = Math.max(0, Math.min(steps, to));
    slider.value = String(taken);
    slider.setAttribute("aria-valuetext", describe(taken));
    onMove(taken, chosen);
  };
  const stop = () => {
    if (playing !== undefined) cancelAnimationFrame(playing);
    playing = undefined;
    play.textContent = "▶";
    play.ariaLabel = "Play";
  };
  const start = () => {
    const from = taken >= steps ? 0 : taken;
    const began = performance.now();
    play.textContent = "❚❚";
    play.ariaLabel = "Pause";
    const frame = () => {
      const to = from + Math.floor(((performance.now() - began) / 1000 / playSeconds) * steps);
      if (to !== taken) move(to, true);
      if (taken < steps) playing = requestAnimationFrame(frame);
      else stop();
    };
    playing = requestAnimationFrame(frame);
  };
  slider.addEventListener("input", () => {
    stop();
    move(Number(slider.value), true);
  });
  back.addEventListener("click", () => {
    stop();
    move(taken - 1, true);
  });
  forward.addEventListener("click", () => {
    stop();
    move(taken + 1, true);
  });
  play.addEventListener("click", () => (playing === undefined ? start() : stop()));
  return {
    update(count, to) {
      const follows = taken >= steps && playing === undefined;
      steps = count;
      slider.max = String(steps);
      for (const control of [slider, play, back, forward]) control.disabled = steps === 0;
      move(to ?? (follows ? steps : taken), false);
    },
    stop,
    play: () => playing === undefined && start(),
  };
}

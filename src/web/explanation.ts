/** Explains the pixel under the pointer: the path to it as a tree, and the probabilities of its bytes. */

import type { ModelConfig } from "../config/model.ts";
import { byId } from "./elements.ts";
import type { Moment } from "./keeping.ts";
import { clearPixel, pixelInWords, showPixel } from "./pixel-panel.ts";
import type { Distribution } from "./protocol.ts";
import { drawnAt } from "./recording.ts";
import { colourAt } from "./shown.ts";
import type { ShownDrawing } from "./state.ts";
import { createTree } from "./tree.ts";

type Pixel = { x: number; y: number };

export interface Explanation {
  /** Explains the pixel under the pointer or keyboard cursor. Without one, the last explanation stays. */
  point(pixel: Pixel | undefined, how: { byKeyboard: boolean }): void;
  /** The display has changed. If it is at rest, the middle pixel is explained until the user points at one. */
  update(options: { rests: boolean }): void;
  clear(): void;
}

export function createExplanation(
  config: ModelConfig,
  {
    shown,
    distribution,
    onChoose,
  }: {
    shown: () => { drawing: ShownDrawing; moment: Moment } | undefined;
    distribution: (drawing: number, at: { image: number; pixel: number }) => Promise<Distribution | undefined>;
    /** Called when a pixel is chosen in the tree. */
    onChoose: (pixel: Pixel) => void;
  },
): Explanation {
  const { imageSize: size, channels } = config;
  let pointed: Pixel | undefined;
  /** The key of the current explanation, so that nothing is requested twice. */
  let explained = "";
  const tree = createTree((pixel) => {
    onChoose(pixel);
    point(pixel, { byKeyboard: false });
  });

  async function explain({ byKeyboard }: { byKeyboard: boolean }): Promise<void> {
    const now = shown();
    if (!pointed || !now) return;
    const { x, y } = pointed;
    const { drawing, moment } = now;
    const { id, recording, settings } = drawing;
    const at = (settings.selected * size + y) * size + x;
    const there = drawnAt(recording, at, moment.taken);
    const key = [id, settings.selected, x, y, moment.taken, recording.live].join();
    if (key === explained) return;
    explained = key;
    tree.show(recording, { image: settings.selected, x, y, taken: moment.taken });
    if (!there) {
      clearPixel();
      if (byKeyboard) announce(`Row ${y + 1}, column ${x + 1}: not drawn yet.`);
      return;
    }
    const given = recording.from[at] === 0;
    const found = given ? undefined : await distribution(id, { image: settings.selected, pixel: y * size + x });
    if (explained !== key) return;
    const bytes = recording.images.slice(at * channels, (at + 1) * channels);
    const pixel = { x, y, bytes, colour: colourAt(recording, at), distribution: found };
    showPixel(pixel);
    if (byKeyboard) announce(pixelInWords(pixel));
  }

  function point(pixel: Pixel | undefined, how: { byKeyboard: boolean }): void {
    pointed = pixel ?? pointed;
    void explain(how);
  }

  return {
    point,
    update({ rests }) {
      if (rests) pointed ??= { x: size >> 1, y: size >> 1 };
      void explain({ byKeyboard: false });
    },
    clear() {
      pointed = undefined;
      explained = "";
      tree.clear();
      clearPixel();
    },
  };
}

const announce = (text: string) => (byId("announced").textContent = text);

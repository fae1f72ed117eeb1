/** What the model expected of the pixel that is pointed at: the way to it as a tree, and its bytes. */

import type { ModelConfig } from "../config/model.ts";
import { byId } from "./elements.ts";
import type { Moment } from "./keeping.ts";
import { clearPixel, pixelInWords, showPixel } from "./pixel-panel.ts";
import type { Distribution } from "./protocol.ts";
import { drawnAt } from "./recording.ts";
import { colourAt } from "./shown.ts";
import type { Drawing } from "./state.ts";
import { createTree } from "./tree.ts";

type Pixel = { x: number; y: number };

export interface Explanation {
  /** The pixel under the pointer or the keyboard's cursor. The last one stays explained when there is none. */
  point(pixel: Pixel | undefined, how: { byKeyboard: boolean }): void;
  /** What is shown has changed; where it `rests`, a pixel in the middle is explained until one is pointed at. */
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
    shown: () => { drawing: Drawing; moment: Moment } | undefined;
    distribution: (drawing: number, at: { image: number; pixel: number }) => Promise<Distribution | undefined>;
    /** A pixel was chosen in the tree. */
    onChoose: (pixel: Pixel) => void;
  },
): Explanation {
  const { imageSize: size, channels } = config;
  let pointed: Pixel | undefined;
  /** Of what is explained now, so that nothing is asked twice. */
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

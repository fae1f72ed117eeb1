/** Shows pictures in grids, and how the drawings changed. Independent of what is trained. */

import { byId, make } from "../elements.ts";
import { side } from "./protocol.ts";

/** Draws the first pictures of [n, side, side, 3] as a grid with a pixel between them. */
export function showGrid(
  canvas: HTMLCanvasElement,
  images: Uint8Array,
  { columns, rows }: { columns: number; rows: number },
): void {
  canvas.width = columns * (side + 1) - 1;
  canvas.height = rows * (side + 1) - 1;
  const context = canvas.getContext("2d")!;
  const pixels = side * side;
  const count = Math.min(columns * rows, images.length / (pixels * 3));
  for (let image = 0; image < count; image++) {
    const rgba = new Uint8ClampedArray(pixels * 4).fill(255);
    for (let pixel = 0; pixel < pixels; pixel++) {
      const from = (image * pixels + pixel) * 3;
      rgba.set(images.subarray(from, from + 3), pixel * 4);
    }
    const [left, top] = [(image % columns) * (side + 1), Math.floor(image / columns) * (side + 1)];
    context.putImageData(new ImageData(rgba, side, side), left, top);
  }
}

/** Earlier drawings: the first pictures of some of them, evenly spread over the training. */
export interface History {
  add(step: number, images: Uint8Array): void;
  clear(): void;
}

const most = 8;
const columns = 4;

export function createHistory(): History {
  const list = byId("learn-history");
  let kept: HTMLLIElement[] = [];
  let seen = 0;
  let every = 1; // doubles whenever the list is full
  return {
    add(step, images) {
      if (seen++ % every !== 0) return;
      const canvas = make("canvas");
      canvas.ariaHidden = "true";
      showGrid(canvas, images, { columns, rows: 1 });
      kept.push(make("li", {}, canvas, `step ${step}`));
      if (kept.length > most) {
        kept = kept.filter((_, i) => i % 2 === 0);
        every *= 2;
      }
      list.replaceChildren(...kept);
    },
    clear() {
      [kept, seen, every] = [[], 0, 1];
      list.replaceChildren();
    },
  };
}

/** The large picture with outlines, mask and cursor. Translates pointer and keyboard input to pixels. Independent of drawing. */

import { the, byId } from "./elements.ts";
import type { Outline } from "./recording.ts";

export interface Stage {
  /** RGBA bytes [S, S, 4]. */
  show(picture: Uint8ClampedArray<ArrayBuffer>, outlines: readonly Outline[]): void;
  /**
   * Shows the mask and the ring around it, [S, S] each. They are hatched while painting or before redrawing (the ring more
   * lightly) and only outlined afterwards.
   */
  setMask(mask: Uint8Array, options: { ring: Uint8Array; pending: boolean }): void;
  setPainting(painting: boolean): void;
  /** Moves the cursor to a pixel, or removes it, without an event. */
  pointAt(pixel: { x: number; y: number } | undefined): void;
}

export interface StageEvents {
  /** The cursor moved to a pixel, or left the picture. */
  onCursor(pixel: { x: number; y: number } | undefined, how: { byKeyboard: boolean }): void;
  /** Called while painting with the pixel to paint. */
  onPaint(pixel: { x: number; y: number }): void;
  onEscape(): void;
}

const arrows: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export function createStage(size: number, events: StageEvents): Stage {
  const frame = byId("canvas");
  const [pixels, overlay] = [the("canvas", "pixels"), the("canvas", "overlay")];
  pixels.width = pixels.height = size;
  let outlines: readonly Outline[] = [];
  let mask = new Uint8Array(size * size);
  let ring = new Uint8Array(size * size);
  let pending = false;
  let cursor: { x: number; y: number } | undefined;
  let painting = false;

  const colour = (name: string) => getComputedStyle(frame).getPropertyValue(name);
  const redraw = () => {
    const side = Math.round(frame.clientWidth * devicePixelRatio);
    if (overlay.width !== side) overlay.width = overlay.height = side;
    const context = overlay.getContext("2d")!;
    const unit = side / size;
    context.clearRect(0, 0, side, side);
    const shape = { size, unit };
    if (!mask.includes(1)) {
      // Nothing is marked.
    } else if (pending || painting) {
      hatchMask(context, { ...shape, mask: ring, fill: "#7f5cff33", dense: 0.5 });
      hatchMask(context, { ...shape, mask, fill: "#7f5cff77", dense: 1 });
      outlineMask(context, { ...shape, mask });
    } else {
      if (ring.includes(1))
        outlineMask(context, { ...shape, mask: mask.map((value, i) => value | ring[i]), dashed: true });
      outlineMask(context, { ...shape, mask });
    }
    for (const { level, side: patch, squares } of outlines)
      for (const { x, y } of squares) {
        const wide = Math.max(1, (level === 0 ? 3 : 2) * devicePixelRatio);
        context.lineWidth = wide + 2 * devicePixelRatio;
        context.strokeStyle = "#0009"; // so that it stands out on any colour
        context.strokeRect(x * unit, y * unit, patch * unit, patch * unit);
        context.lineWidth = wide;
        context.strokeStyle = colour(`--level-${Math.min(2, level)}`);
        context.strokeRect(x * unit, y * unit, patch * unit, patch * unit);
      }
    if (!cursor) return;
    for (const [style, width] of [
      ["#000", 4],
      ["#fff", 2],
    ] as const) {
      context.strokeStyle = style;
      context.lineWidth = width * devicePixelRatio;
      context.strokeRect(cursor.x * unit, cursor.y * unit, unit, unit);
    }
  };
  new ResizeObserver(redraw).observe(frame);

  const moveTo = (pixel: { x: number; y: number } | undefined, byKeyboard = false) => {
    cursor = pixel;
    redraw();
    events.onCursor(pixel, { byKeyboard });
  };
  let pressed = false; // a pointer is down; its focus event precedes its position
  const under = (event: PointerEvent) => {
    const box = frame.getBoundingClientRect();
    const place = (offset: number, length: number) =>
      Math.max(0, Math.min(size - 1, Math.floor((offset / length) * size)));
    return { x: place(event.clientX - box.left, box.width), y: place(event.clientY - box.top, box.height) };
  };
  frame.addEventListener("pointerdown", (event) => {
    pressed = true;
    moveTo(under(event));
    if (!painting) return;
    frame.setPointerCapture(event.pointerId);
    events.onPaint(cursor!);
  });
  frame.addEventListener("pointermove", (event) => {
    const pixel = under(event);
    if (pixel.x === cursor?.x && pixel.y === cursor.y) return;
    moveTo(pixel);
    if (painting && event.buttons & 1) events.onPaint(pixel);
  });
  for (const kind of ["pointerup", "pointercancel"]) frame.addEventListener(kind, () => (pressed = false));
  frame.addEventListener("pointerleave", () => document.activeElement !== frame && moveTo(undefined));
  frame.addEventListener("focus", () => moveTo(cursor ?? { x: size >> 1, y: size >> 1 }, !pressed));
  frame.addEventListener("blur", () => moveTo(undefined));
  frame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [dx, dy] = arrows[event.key] ?? [0, 0];
    if (dx || dy) {
      const from = cursor ?? { x: size >> 1, y: size >> 1 };
      const far = event.shiftKey ? 4 : 1;
      const within = (value: number) => Math.max(0, Math.min(size - 1, value));
      moveTo({ x: within(from.x + dx * far), y: within(from.y + dy * far) }, true);
    } else if (event.key === " " && cursor && painting) events.onPaint(cursor);
    else if (event.key === "Escape" && painting) events.onEscape();
    else return;
    event.preventDefault();
  });

  return {
    pointAt(pixel) {
      cursor = pixel;
      redraw();
    },
    show(picture, squares) {
      pixels.getContext("2d")!.putImageData(new ImageData(picture, size, size), 0, 0);
      outlines = squares;
      redraw();
    },
    setMask(marked, options) {
      mask = Uint8Array.from(marked);
      ring = Uint8Array.from(options.ring);
      ({ pending } = options);
      redraw();
    },
    setPainting(on) {
      painting = on;
      frame.classList.toggle("painting", on);
      redraw();
    },
  };
}

interface MaskShape {
  mask: Uint8Array;
  size: number;
  /** Canvas pixels per image pixel. */
  unit: number;
}

/** Outlines the marked pixels, visible on any colour. */
function outlineMask(
  context: CanvasRenderingContext2D,
  { mask, size, unit, dashed = false }: MaskShape & { dashed?: boolean },
): void {
  const marked = (x: number, y: number) => x >= 0 && y >= 0 && x < size && y < size && mask[y * size + x] === 1;
  context.beginPath();
  for (let y = 0; y <= size; y++)
    for (let x = 0; x <= size; x++) {
      if (marked(x, y) !== marked(x - 1, y)) segment(x, y, x, y + 1);
      if (marked(x, y) !== marked(x, y - 1)) segment(x, y, x + 1, y);
    }
  for (const [style, width] of [
    ["#fffc", 3],
    ["#7f5cff", 1.5],
  ] as const) {
    context.setLineDash(dashed ? [unit / 2, unit / 2] : []);
    context.strokeStyle = style;
    context.lineWidth = width * devicePixelRatio;
    context.stroke();
  }
  context.setLineDash([]);
  function segment(left: number, top: number, right: number, bottom: number): void {
    context.moveTo(left * unit, top * unit);
    context.lineTo(right * unit, bottom * unit);
  }
}

/** Hatches the marked pixels, so that the image stays visible and the mask does not depend on colour. */
function hatchMask(
  context: CanvasRenderingContext2D,
  { mask, size, unit, fill, dense }: MaskShape & { fill: string; dense: number },
): void {
  const { width } = context.canvas;
  context.save();
  context.beginPath();
  mask.forEach((marked, at) => {
    if (marked) context.rect((at % size) * unit, Math.floor(at / size) * unit, unit, unit);
  });
  context.clip();
  context.fillStyle = fill;
  context.fillRect(0, 0, width, width);
  context.strokeStyle = "#fffc";
  context.lineWidth = Math.max(1, unit / 8);
  context.beginPath();
  for (let x = -width; x < width; x += unit / dense) {
    context.moveTo(x, width);
    context.lineTo(x + width, 0);
  }
  context.stroke();
  context.restore();
}

/** The tools that mark what is to be drawn anew, and a picture of one's own. Knows nothing of the model. */

import { allButMask, centre, halfMask, rectangleMask } from "../sample/masks.ts";
import { byId, the } from "./elements.ts";

export interface Redrawing {
  readonly mask: Uint8Array;
  /** Whether one more patch around is drawn, which softens seams. */
  ring: boolean;
  /** Paints or erases with the brush around a pixel, as chosen. */
  paintAt(pixel: { x: number; y: number }): void;
  setMask(mask: Uint8Array): void;
  stopPainting(): void;
  enable(enabled: boolean): void;
}

export function redrawingTools(
  size: number,
  { onMask, onPainting }: { onMask: (mask: Uint8Array) => void; onPainting: (painting: boolean) => void },
): Redrawing {
  let mask = new Uint8Array(size * size);
  const [paint, erase] = [the("button", "paint"), the("button", "erase")];
  const tools = [paint, erase];
  const pressed = (button: HTMLButtonElement) => button.ariaPressed === "true";
  const choose = (tool?: HTMLButtonElement) => {
    for (const button of tools) button.ariaPressed = String(button === tool);
    onPainting(tool !== undefined);
  };
  for (const button of tools) button.addEventListener("click", () => choose(pressed(button) ? undefined : button));

  const set = (next: Uint8Array) => {
    mask = Uint8Array.from(next);
    const marked = mask.reduce((sum, value) => sum + value, 0);
    byId("masked").textContent =
      marked === 0
        ? "Nothing is marked. What you mark is drawn anew as the chosen classes."
        : `${marked} of ${mask.length} pixels are marked to be drawn anew as the chosen classes.`;
    onMask(mask);
  };
  const half = Math.floor(size / 2);
  const masks: Record<string, () => Uint8Array> = {
    centre: () => rectangleMask(size, centre(size, half)),
    half: () => halfMask(size, "left"),
    around: () => allButMask(size, centre(size, half)),
    clear: () => new Uint8Array(size * size),
  };
  const presets = [...document.querySelectorAll<HTMLButtonElement>("button[data-mask]")];
  for (const button of presets) button.addEventListener("click", () => set(masks[button.dataset["mask"]!]()));

  return {
    get mask() {
      return mask;
    },
    get ring() {
      return the("input", "ring").checked;
    },
    set ring(on) {
      the("input", "ring").checked = on;
    },
    paintAt({ x, y }) {
      const brush = Number(the("select", "brush").value);
      const next = Uint8Array.from(mask);
      const [left, top] = [x, y].map((at) => Math.max(0, Math.min(size - brush, at - Math.floor((brush - 1) / 2))));
      for (let row = top; row < top + brush; row++)
        next.fill(pressed(erase) ? 0 : 1, row * size + left, row * size + left + brush);
      set(next);
    },
    setMask: set,
    stopPainting: () => choose(),
    enable(enabled) {
      for (const button of [...tools, ...presets, the("input", "upload")]) button.disabled = !enabled;
      if (!enabled) choose();
    },
  };
}

/** A picture as bytes [S, S, C]: its middle square, made as small as the model's images, on white. */
export async function readPicture(
  file: File,
  { size, channels }: { size: number; channels: number },
): Promise<Uint8Array> {
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} is no picture that this browser can read; choose a PNG, JPEG or WebP`);
  });
  const side = Math.min(picture.width, picture.height);
  const context = new OffscreenCanvas(size, size).getContext("2d")!;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, size, size);
  context.imageSmoothingQuality = "high";
  const [left, top] = [(picture.width - side) / 2, (picture.height - side) / 2];
  context.drawImage(picture, left, top, side, side, 0, 0, size, size);
  const { data } = context.getImageData(0, 0, size, size);
  const bytes = new Uint8Array(size * size * channels);
  for (let i = 0; i < size * size; i++) {
    const colour = [...data.subarray(i * 4, i * 4 + 3)];
    const values = channels < 3 ? [Math.round(colour.reduce((a, b) => a + b, 0) / 3), 255] : [...colour, 255];
    bytes.set(values.slice(0, channels), i * channels);
  }
  return bytes;
}

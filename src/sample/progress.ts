/** How much is drawn of the images that are wanted. */

export interface DrawingProgress {
  /** So many more pixels of an image are drawn. */
  add(image: number, pixels: number): void;
  /** Share of the pixels to be drawn, of all images that are wanted, that are drawn; 1 where none is. */
  share(): number;
}

/** `of`: the pixels of each image that are to be drawn. An image whose signal is aborted is not wanted any more. */
export function drawingProgress(of: readonly number[], signals: readonly AbortSignal[] = []): DrawingProgress {
  const drawn = of.map(() => 0);
  const dropped = new Set<number>();
  let done = 0;
  let total = of.reduce((a, b) => a + b, 0);
  return {
    add(image, pixels) {
      drawn[image] += pixels;
      if (!dropped.has(image)) done += pixels;
    },
    share() {
      signals.forEach(({ aborted }, image) => {
        if (!aborted || dropped.has(image)) return;
        dropped.add(image);
        done -= drawn[image];
        total -= of[image];
      });
      return total === 0 ? 1 : done / total;
    },
  };
}

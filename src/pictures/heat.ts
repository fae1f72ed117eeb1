/** A colour map from black through violet and orange to pale yellow. Knows nothing of what the values mean. */

const anchors = [
  [0, 0, 4],
  [87, 16, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 255, 164],
] as const;

/** RGB bytes [N, 3] for values [N] from 0 to `most`; larger values are clamped. */
export function heatColours(amounts: ArrayLike<number>, most: number): Uint8Array {
  const colours = new Uint8Array(amounts.length * 3);
  for (let i = 0; i < amounts.length; i++) {
    const at = Math.max(0, Math.min(1, amounts[i] / most)) * (anchors.length - 1);
    const from = Math.min(anchors.length - 2, Math.floor(at));
    for (let c = 0; c < 3; c++)
      colours[i * 3 + c] = Math.round(anchors[from][c] + (at - from) * (anchors[from + 1][c] - anchors[from][c]));
  }
  return colours;
}

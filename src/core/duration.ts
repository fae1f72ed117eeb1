/** Formats durations and rates for people. */

/** Formats seconds: "8 s", "3 min 20 s", "5 min", "2 h 5 min". */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const [large, small, units] =
    whole < 3600
      ? [Math.floor(whole / 60), whole % 60, ["min", "s"]]
      : [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), ["h", "min"]];
  return `${large} ${units[0]}${small > 0 ? ` ${small} ${units[1]}` : ""}`;
}

export const rateOf = (imagesPerSecond: number): string =>
  `${imagesPerSecond.toFixed(imagesPerSecond < 10 ? 2 : 0)} images/s`;

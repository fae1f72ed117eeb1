/** Formats counts for people: "1 step", "12 steps", "3.1M parameters". */

/** A count with its noun in the singular or plural. */
export const counted = (count: number, thing: string): string => `${count} ${count === 1 ? thing : plural(thing)}`;

const plural = (thing: string): string => (/(?:s|sh|ch|x)$/.test(thing) ? `${thing}es` : `${thing}s`);

/**
 * The size of a model with at least two digits: "812 parameters", "48k parameters", "3.1M parameters", "1.2G
 * parameters".
 */
export function parameterCount(count: number): string {
  if (count < 1000) return counted(count, "parameter");
  for (const [unit, size] of [
    ["k", 1e3],
    ["M", 1e6],
    ["G", 1e9],
  ] as const) {
    const value = count / size;
    const text = value.toFixed(value < 9.95 ? 1 : 0);
    if (Number(text) < 1000 || unit === "G") return `${text}${unit} parameters`;
  }
  return `${count} parameters`;
}

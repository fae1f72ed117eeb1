/** Maps numeric labels in a file to class indices. Knows nothing of file formats. */

import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";

/** The labels of one part of a source and where they come from. */
export interface RawLabels {
  /** `null` for an image without a label. */
  values: ArrayLike<number | bigint | null>;
  where: string;
}

/**
 * The numbers that occur in any part are the classes, in ascending order. Returns each part's class indices, with
 * `unlabelled` for null and NaN. With `names`, the numbers are already indices. Throws a UserError for a label that is not a
 * whole number from 0 on.
 */
/** Marks an image without a label, which is left out. */
export const unlabelled = -1;

export function classesOf(
  parts: readonly RawLabels[],
  names?: readonly string[],
): { classes: string[]; labels: Int32Array[] } {
  const numbers = parts.map(({ values, where }) => wholeNumbers(values, { where, names }));
  if (names) return { classes: [...names], labels: numbers.map((values) => Int32Array.from(values)) };
  const distinct = [...new Set(numbers.flatMap((values) => [...new Set(values)]))]
    .filter((value) => value !== unlabelled)
    .sort((a, b) => a - b);
  if (distinct.length > limits.classes)
    throw new UserError({
      subject: parts[0].where,
      problem: `it has ${distinct.length} different labels`,
      expected: `at most ${limits.classes}`,
      hint: "check that these are class labels",
    });
  const index = new Map(distinct.map((value, i) => [value, i]));
  return {
    classes: distinct.map(String),
    labels: numbers.map((values) => Int32Array.from(values, (value) => index.get(value) ?? unlabelled)),
  };
}

/** Throws a UserError unless every class has a name of its own that fits on a line. */
export function checkClassNames(classes: readonly string[], where: string): void {
  const long = classes.find((name) => name.length > limits.className);
  if (long !== undefined)
    throw new UserError({
      subject: where,
      problem: `the class name ${shown(long)} has ${long.length} characters`,
      expected: `at most ${limits.className}`,
      hint: "check that these are class labels",
    });
  const seen = new Set<string>();
  for (const name of classes) {
    if (name === "" || seen.has(name))
      throw new UserError({
        subject: where,
        problem: name === "" ? "a class has an empty name" : `two classes have the name ${shown(name)}`,
        hint: "give every class a name of its own",
      });
    seen.add(name);
  }
}

function wholeNumbers(
  values: ArrayLike<number | bigint | null>,
  { where, names }: { where: string; names?: readonly string[] },
): Float64Array {
  return Float64Array.from(values, (value, index) => {
    // pandas stores missing whole numbers as NaN.
    if (value === null || value === undefined || Number.isNaN(value)) return unlabelled;
    const number = ["number", "bigint", "boolean"].includes(typeof value) ? Number(value) : Number.NaN;
    if (Number.isSafeInteger(number) && number >= 0 && number < (names?.length ?? Infinity)) return number;
    const hint = number === -1 ? "-1 marks images without a label, so leave them out" : undefined;
    const expected = names ? `0 to ${names.length - 1}, one for each class name` : "a whole number from 0 on";
    throw new UserError({
      subject: where,
      problem: `the label of image ${index} is ${shown(value)}`,
      expected,
      hint,
    });
  });
}

/** A name in the spellings of those who use it: filterThreshold, filter-threshold, filter_threshold. */

const joined = (name: string, mark: string): string =>
  name.replaceAll(/[A-Z]/g, (letter) => `${mark}${letter.toLowerCase()}`);

/** As command lines and links have it. */
export const kebabCase = (name: string): string => joined(name, "-");
/** As HTTP fields have it. */
export const snakeCase = (name: string): string => joined(name, "_");

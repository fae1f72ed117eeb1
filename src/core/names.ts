/** Converts names between filterThreshold, filter-threshold and filter_threshold. */

const joined = (name: string, mark: string): string =>
  name.replaceAll(/[A-Z]/g, (letter) => `${mark}${letter.toLowerCase()}`);

/** The spelling on command lines and in links. */
export const kebabCase = (name: string): string => joined(name, "-");
/** The spelling in HTTP fields. */
export const snakeCase = (name: string): string => joined(name, "_");

/** The built program, for tests that start processes: it starts in half of the time that the sources take. */

import { fileURLToPath } from "node:url";

/** The address of a module such as `cli/main` in `dist/`, which the tests' setup builds anew. */
export const builtUrl = (module: string): string => new URL(`../dist/${module}.js`, import.meta.url).href;

/** The same as a path. */
export const built = (module: string): string => fileURLToPath(builtUrl(module));

/** The built program, for tests that start processes: it starts twice as fast as the sources. */

import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** The path of a module, such as `cli/main`, in the build that the tests' setup made. */
export const built = (module: string): string => join(process.env["FRACTALGEN_BUILD"]!, "dist", `${module}.js`);

/** The same as a URL, for imports. */
export const builtUrl = (module: string): string => pathToFileURL(built(module)).href;

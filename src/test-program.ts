/** The built program, for tests that start processes: it starts in half of the time that the sources take. */

import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** Where a module such as `cli/main` lies in the build that the tests' setup made. */
export const built = (module: string): string => join(process.env["FRACTALGEN_BUILD"]!, "dist", `${module}.js`);

/** The same as an address, to import. */
export const builtUrl = (module: string): string => pathToFileURL(built(module)).href;

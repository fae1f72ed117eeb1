/** Builds the program before the tests, which run it as a user of the package does. Types are checked by `npm run types`. */

import { execSync } from "node:child_process";

export default () =>
  void execSync("npm run --silent build -- --noCheck", { cwd: import.meta.dirname, stdio: "inherit" });

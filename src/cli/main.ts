#!/usr/bin/env node
/** The entry of the command line; what it does is in program.ts. */

import { endsOnClosedPipe } from "./mistakes.ts";
import { run } from "./program.ts";

endsOnClosedPipe();
const code = await run(process.argv.slice(2));
if (code !== 0) process.exitCode = code;

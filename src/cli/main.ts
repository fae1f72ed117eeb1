#!/usr/bin/env node
/** The entry point of the command line; the commands are in program.ts. */

import { endsOnUser1 } from "./interrupt.ts";
import { endsOnClosedPipe, showsControls } from "./mistakes.ts";
import { asTyped } from "./where.ts";
import { run } from "./program.ts";

endsOnUser1();
endsOnClosedPipe();
asTyped();
showsControls();
const code = await run(process.argv.slice(2));
if (code !== 0) process.exitCode = code;

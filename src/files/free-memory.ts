/** The memory available to this process. */

import { freemem } from "node:os";

/** Free memory in bytes, within the container's limit if Node.js can determine it. */
export const freeMemory = (): number => process.availableMemory?.() ?? freemem();

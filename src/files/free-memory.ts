/** How much memory there is to take. */

import { freemem } from "node:os";

/** Bytes of memory that are free, within a container's limit where Node can tell. */
export const freeMemory = (): number => process.availableMemory?.() ?? freemem();

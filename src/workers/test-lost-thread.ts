/** A worker for tests that dies in a given way: by an uncaught error, an exit, or lack of memory. */

import { parentPort, workerData } from "node:worker_threads";
import { failure } from "./failure.ts";

const { dies } = workerData as { dies: "throws" | "exits" | "memory" | "fails" };
const port = parentPort!;
port.postMessage({ ready: true });
port.on("message", () => {
  if (dies === "fails") port.postMessage(failure(new RangeError("Array buffer allocation failed")));
  else if (dies === "exits") process.exit(3);
  else if (dies === "throws") throw new TypeError("nobody catches this");
  else for (const all: number[][] = []; ;) all.push(Array.from({ length: 1e5 }, (_, i) => i + 0.5));
});

/** A server in a process of its own, whose memory tests can measure. Answers every message with its memory in bytes. */

import { listening } from "./test-client.ts";
import { gate, testModels, testServer } from "./test-models.ts";

const models = await testModels();
const at = await listening(testServer([models.tiny], { open: gate().open }));
process.on("message", () => {
  globalThis.gc?.();
  process.send!(process.memoryUsage());
});
process.on("disconnect", () => {
  models.remove();
  process.exit();
});
process.send!(at.url);

/** Runs an image server inside a program, and sends it a request: node --import tsx examples/serve.ts */

import { availableParallelism } from "node:os";
import { findModel, fractalServer, listen, servedModels } from "../src/index.ts";

const server = fractalServer({
  models: servedModels([{ name: "emoji", folder: await findModel("emoji") }]),
  version: "1.0.0", // your program's version; it is written into images and the API's description
  threads: availableParallelism(),
  memory: 2e9,
  onFault: console.error,
});

// Port 0 means any free port. `server.app` is a Hono app, so you can also mount it in an existing server.
const { url, close } = await listen(server, { host: "127.0.0.1", port: 0 });

const response = await fetch(`${url}/v1/images/generations`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ prompt: "heart,face", n: 2, seed: 1, iterations: [4, 4] }),
});
const { data } = (await response.json()) as { data: { b64_json: string }[] };
for (const { b64_json: base64 } of data) console.log(`a PNG of ${Buffer.from(base64, "base64").length} bytes`);

await close(); // finishes the accepted requests first

// Prints two lines such as "a PNG of 1843 bytes".

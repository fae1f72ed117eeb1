/** A server of images inside a program, and a request to it: node --import tsx examples/serve.ts */

import { availableParallelism } from "node:os";
import { findModel, fractalServer, listen, servedModels } from "../src/index.ts";

const server = fractalServer({
  models: servedModels([{ name: "emoji", folder: await findModel("emoji") }]),
  version: "1.0.0", // of your program; it is written into images and the API's description
  threads: availableParallelism(),
  memory: 2e9,
  onFault: console.error,
});

// Port 0 takes any free port. `server.app` is a Hono app, so it can also be mounted in a server that you already have.
const { url, close } = await listen(server, { host: "127.0.0.1", port: 0 });

const response = await fetch(`${url}/v1/images/generations`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ prompt: "heart,face", n: 2, seed: 1, iterations: [4, 4] }),
});
const { data } = (await response.json()) as { data: { b64_json: string }[] };
for (const { b64_json: base64 } of data) console.log(`a PNG of ${Buffer.from(base64, "base64").length} bytes`);

await close(); // finishes what is being drawn, then ends

// Prints two lines such as "a PNG of 1843 bytes".

/** A worker that is terminated inside onnxruntime: the process continues. */

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { thorough } from "../test-depth.ts";
import { builtUrl } from "../test-program.ts";

const rounds = thorough ? 30 : 2;

/** A thread that is inside a product nearly all the time. */
const lane = `
  Promise.all(["engine/node", "graph/build", "graph/onnx"].map((at) => import(URL.replace("MODULE", at)))).then(
    async ([{ nodeEngine }, { input, matmul }, { writeOnnx }]) => {
      const { parentPort } = await import("node:worker_threads");
      const x = input("x", "float32", [400, 400]);
      const engine = await nodeEngine({ threads: 1 });
      const session = await engine.session(writeOnnx({ y: matmul(matmul(x, x), x) }));
      const feeds = { x: { dtype: "float32", shape: [400, 400], data: new Float32Array(160_000) } };
      for (parentPort.postMessage("runs"); ; ) await session.run(feeds);
    },
  );`;

/** What a process with such threads prints. */
async function printed(code: string): Promise<string> {
  const url = JSON.stringify(builtUrl("MODULE"));
  const program = `
    import { once } from "node:events";
    const { GatedWorker } = await import(${url}.replace("MODULE", "engine/gate"));
    const { disableTelemetry } = await import(${url}.replace("MODULE", "engine/node"));
    disableTelemetry();
    const started = async () => {
      const worker = new GatedWorker(${JSON.stringify(lane.replace("URL", () => url))}, { eval: true });
      await once(worker, "message");
      return worker;
    };
    const later = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
    ${code}`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program]);
  return stdout.trim();
}

it("ends outside of it when it is terminated, once or twice", { timeout: 300_000 }, async () => {
  const code = `
    let codes = "";
    for (let n = 0; n < ${rounds}; n++) {
      const worker = await started();
      await later(7 * (n % 10));
      codes += await worker.terminate();
      await worker.terminate();
    }
    console.log(codes);`;
  expect(await printed(code)).toBe("1".repeat(rounds));
});

it("ends outside of it when the process exits, whose exit code stays", { timeout: 300_000 }, async () => {
  for (let n = 0; n < rounds / 2; n++) {
    const exits = printed(`await started(); await started(); await later(${9 * n}); process.exit(3);`);
    await expect(exits).rejects.toMatchObject({ code: 3 });
  }
});

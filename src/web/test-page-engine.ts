/** An engine in a page of a real browser, so that everything that takes an engine can be tested there. */

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Browser, JSHandle, Page } from "playwright-core";
import { build, type Rolldown } from "vite";
import type { DeviceTensor, HostTensor, Value } from "../core/arrays.ts";
import type { Engine, Session, SessionOptions } from "../engine/engine.ts";
import type * as Web from "../engine/web.ts";
import { weightsName } from "../files/model.ts";
import type { OnnxModel } from "../graph/onnx.ts";
import { launch, root } from "./test-page.ts";

export interface PageEngine extends Engine {
  close(): Promise<void>;
}

/** A tensor in the page's device memory; other tensors are copied between the page and the test. */
interface InPage {
  inPage: JSHandle<DeviceTensor>;
}

/** A page with the runtime and `webEngine` as its globals. */
const html = `<!doctype html><title>engine</title><link rel="icon" href="data:,"><script type="module">
import * as runtime from "/ort.webgpu.min.mjs";
import { webEngine } from "/engine.js";
Object.assign(globalThis, { runtime, webEngine });
</script>`;

interface Globals {
  runtime: Parameters<typeof Web.webEngine>[0];
  webEngine: typeof Web.webEngine;
}

/** Starts Chromium with these flags, and creates an engine on WebGPU in an empty page. */
export async function pageEngine(flags: string[]): Promise<PageEngine> {
  const module = await bundled("src/engine/web.ts");
  const files: Record<string, () => [type: string, content: string | Uint8Array]> = {
    "/": () => ["text/html", html],
    "/engine.js": () => ["text/javascript", module],
  };
  const server = createServer(({ url = "" }, response) => {
    const [type, content] = files[url]?.() ?? [
      url.endsWith("wasm") ? "application/wasm" : "text/javascript",
      readFileSync(join(root, "node_modules/onnxruntime-web/dist", url.slice(url.lastIndexOf("/")))),
    ];
    response.writeHead(200, { "content-type": type }).end(content);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  let browser: Browser | undefined;
  const close = async () => {
    await browser?.close();
    server.close();
  };
  try {
    browser = await launch(flags);
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const { fallback } = await described(page, await opened(page, {}));
    const session = async (model: Parameters<Engine["session"]>[0], { folder, keep }: SessionOptions = {}) => {
      const given: Record<string, Uint8Array> = {};
      if (folder !== undefined) given[weightsName] = Uint8Array.from(readFileSync(join(folder, weightsName))); // a Buffer would arrive as JSON
      return sessionIn(page, await opened(page, given), { model, kept: keep ? model.outputs.filter(keep) : [] });
    };
    return { provider: fallback === undefined ? "webgpu" : "cpu", fallback, session, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** An engine in the page, whose models may refer to these files. */
const opened = (page: Page, files: Record<string, Uint8Array>): Promise<JSHandle<Engine>> =>
  page.evaluateHandle((files) => {
    const { runtime, webEngine } = globalThis as unknown as Globals;
    return webEngine(runtime, { provider: "webgpu", files });
  }, files);

const described = (page: Page, engine: JSHandle<Engine>) => page.evaluate(({ fallback }) => ({ fallback }), engine);

async function sessionIn(
  page: Page,
  engine: JSHandle<Engine>,
  { model: { bytes, outputs }, kept }: { model: OnnxModel; kept: readonly string[] },
): Promise<Session> {
  const session = await page.evaluateHandle(
    ({ engine, model, kept }) =>
      engine.session(model as OnnxModel, kept.length > 0 ? { keep: (name) => kept.includes(name) } : {}),
    { engine, model: { bytes, outputs }, kept },
  );
  const inputs = await page.evaluate(({ inputs }) => [...inputs], session);
  /** Only those feeds that the graph has: others need not cross over. */
  const sent = (feeds: Record<string, Value>) =>
    Object.fromEntries(
      inputs.map((name) => {
        const feed = feeds[name];
        if (!feed) throw new Error(`run: the input ${name} was not given`);
        return [name, "held" in feed ? (feed.held as InPage).inPage : { ...feed, shape: [...feed.shape] }];
      }),
    );
  const run = async (feeds: Record<string, Value>) => {
    const result = await page.evaluateHandle(
      ({ session, feeds }) => session.runKept(feeds as unknown as Record<string, Value>),
      { session, feeds: sent(feeds) },
    );
    const outputs = (await page.evaluate(({ outputs }) => outputs, result)) as Record<string, HostTensor>;
    const held: Record<string, DeviceTensor> = {};
    for (const name of kept) {
      const inPage = await page.evaluateHandle(({ result, name }) => result.kept[name], { result, name });
      const { dtype, shape } = await page.evaluate(({ dtype, shape }) => ({ dtype, shape: [...shape] }), inPage);
      const dispose = () =>
        void inPage
          .evaluate((tensor) => tensor.dispose())
          .then(() => inPage.dispose())
          .catch(() => {}); // the page is closed
      held[name] = { dtype, shape, held: { inPage } satisfies InPage, dispose };
    }
    await result.dispose();
    return { outputs, kept: held };
  };
  return {
    inputs,
    runKept: run,
    async run(feeds, into = {}) {
      const { outputs } = await run(feeds);
      for (const [name, target] of Object.entries(into)) {
        target.data.set(outputs[name].data as never);
        outputs[name] = target;
      }
      return outputs;
    },
    dispose: () => session.evaluate((one) => one.dispose()),
  };
}

/** A module of the project with everything that it imports, for a page. */
async function bundled(entry: string): Promise<string> {
  const lib = { entry: join(root, entry), formats: ["es" as const] };
  const output = (await build({ configFile: false, logLevel: "error", build: { lib, write: false } })) as
    | Rolldown.RolldownOutput
    | Rolldown.RolldownOutput[];
  return (Array.isArray(output) ? output[0] : output).output[0].code;
}

/** The studio's files and the models that it can open, as served. */

import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FractalServer } from "./app.ts";
import { gate, type TestModels, testModels, testServer } from "./test-models.ts";

let models: TestModels;
let server: FractalServer;
beforeAll(async () => {
  models = await testModels();
  const options = { loopback: true, open: gate().open, studio: join(models.folder, "web"), shareWeights: true };
  server = testServer([models.tiny, models.slow], options);
});
afterAll(async () => {
  await server.dispose();
  models.remove();
});

const offeredNow = async (): Promise<{ name: string; config: string; weights: string; bytes: number }[]> =>
  (await server.app.request("/models.json")).json() as ReturnType<typeof offeredNow>;

describe("the studio", () => {
  it("is a page that says how to build it, and the built files when they exist", async () => {
    const unbuilt = await server.app.request("/");
    expect(await unbuilt.text()).toContain("npm run build:web");
    mkdirSync(join(models.folder, "web"));
    writeFileSync(join(models.folder, "web/index.html"), "<title>studio</title>");
    writeFileSync(join(models.folder, "web/app.js"), "1");
    expect(await (await server.app.request("/")).text()).toBe("<title>studio</title>");
    expect((await server.app.request("/app.js")).headers.get("content-type")).toContain("javascript");
    for (const path of ["/../tiny/config.json", "/..%2ftiny/config.json", "/%2e%2e/tiny/config.json", "/none.js"])
      expect((await server.app.request(path)).status, path).toBe(404);
    expect((await server.app.request("/healthz")).status).toBe(200);
  });

  it("gets the models of this server, file by file, and no other files of their folders", async () => {
    writeFileSync(join(models.tiny.folder.folder, "secret.txt"), "secret");
    const offered = await offeredNow();
    expect(offered.map(({ name }) => name)).toEqual(["tiny", "slow"]);
    const { config, weights } = offered[0];
    for (const [path, file] of [
      [config, "config.json"],
      [weights, "model.safetensors"],
    ]) {
      const answer = await server.app.request(`/${path}`);
      const bytes = readFileSync(join(models.tiny.folder.folder, file));
      if (path === weights) expect(offered[0].bytes).toBe(bytes.length);
      expect(Buffer.from(await answer.arrayBuffer()).equals(bytes), file).toBe(true);
      expect(answer.headers.get("content-length")).toBe(String(bytes.length));
      expect(answer.headers.get("cache-control")).toContain("immutable");
      const opened = () => readdirSync("/proc/self/fd").length;
      const before = process.platform === "linux" ? opened() : 0;
      for (let i = 0; i < 20; i++) {
        const head = await server.app.request(`/${path}`, { method: "HEAD" });
        expect(head.headers.get("content-length")).toBe(String(bytes.length));
      }
      if (process.platform === "linux") expect(opened() - before, "files left open").toBeLessThan(10);
    }
    for (const path of [
      "tiny/secret.txt",
      "tiny/config.json",
      config.replace("served/tiny", "grey"),
      config.replace("served/", "").replace("tiny/", "tiny/..%2f"),
      "..%2ftiny/config.json",
      "tiny/",
    ])
      expect((await server.app.request(`/served/${path}`)).status, path).toBe(404);
    const closed = testServer([models.tiny]);
    for (const path of ["/models.json", `/${config}`]) expect((await closed.app.request(path)).status, path).toBe(404);
    await closed.dispose();
  });

  it.each(["config.json", "model.safetensors"])("gives both files new addresses when %s changes", async (file) => {
    const [before] = await offeredNow();
    const path = join(models.tiny.folder.folder, file);
    writeFileSync(`${path}.new`, readFileSync(path)); // of the same size
    renameSync(`${path}.new`, path);
    const [after] = await offeredNow();
    for (const kind of ["config", "weights"] as const) {
      expect(after[kind]).not.toBe(before[kind]);
      expect((await server.app.request(`/${before[kind]}`)).status).toBe(404);
      expect((await server.app.request(`/${after[kind]}`)).status).toBe(200);
    }
  });
});

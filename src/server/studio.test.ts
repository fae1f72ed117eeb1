/** The studio's files and the models that it can open, as served. */

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
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
    const offered = await (await server.app.request("/models.json")).json();
    expect(offered).toEqual([
      { name: "tiny", folder: "served/tiny/" },
      { name: "slow", folder: "served/slow/" },
    ]);
    for (const file of ["config.json", "model.safetensors"]) {
      const answer = await server.app.request(`/served/tiny/${file}`);
      const bytes = readFileSync(join(models.tiny.folder.folder, file));
      expect(Buffer.from(await answer.arrayBuffer()).equals(bytes), file).toBe(true);
      expect(answer.headers.get("content-length")).toBe(String(bytes.length));
      const headers = { "If-None-Match": answer.headers.get("etag")! };
      expect((await server.app.request(`/served/tiny/${file}`, { headers })).status).toBe(304);
      const opened = () => readdirSync("/proc/self/fd").length;
      const before = process.platform === "linux" ? opened() : 0;
      for (let i = 0; i < 20; i++) {
        const head = await server.app.request(`/served/tiny/${file}`, { method: "HEAD" });
        expect(head.headers.get("content-length")).toBe(String(bytes.length));
      }
      if (process.platform === "linux") expect(opened() - before, "files left open").toBeLessThan(10);
    }
    for (const path of [
      "tiny/secret.txt",
      "grey/config.json",
      "tiny/..%2fconfig.json",
      "..%2ftiny/config.json",
      "tiny/",
    ])
      expect((await server.app.request(`/served/${path}`)).status, path).toBe(404);
    const closed = testServer([models.tiny]);
    for (const path of ["/models.json", "/served/tiny/config.json"])
      expect((await closed.app.request(path)).status, path).toBe(404);
    await closed.dispose();
  });
});

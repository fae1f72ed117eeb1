/** Redis with TLS: a real server with certificates of an authority that only the test knows. */

import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { call } from "../cli/test-call.ts";
import { queueAddress } from "./address.ts";
import { openConnection } from "./connection.ts";
import { filesOf, freePort, noRedis, type TestQueue, testQueue } from "./test-queue.ts";
import { thorough } from "../test-depth.ts";

const missing = noRedis ?? (spawnSync("openssl", ["version"]).status === 0 ? undefined : "openssl is not installed");

describe.skipIf(missing)(`Redis with TLS${missing ? ` (skipped: ${missing})` : ""}`, () => {
  const certificates = mkdtempSync(join(tmpdir(), "fractalgen-tls-"));
  const file = (name: string) => join(certificates, name);
  let port: number;
  let queue: TestQueue;

  /** An authority, and two certificates for localhost that it signed: one is valid, one has expired. */
  function certify(): void {
    const openssl = (args: string) => {
      const { status, stderr } = spawnSync("openssl", args.split(" "), { cwd: certificates, encoding: "utf8" });
      if (status !== 0) throw new Error(`openssl ${args}: ${stderr}`);
    };
    const key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(`req -x509 ${key} -keyout ca.key -out ca.crt -days 2 -subj /CN=authority`);
    openssl(`req ${key} -keyout redis.key -out redis.csr -subj /CN=localhost`);
    writeFileSync(file("names"), "subjectAltName=DNS:localhost\n");
    const sign = "x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names";
    openssl(`${sign} -days 2 -out redis.crt`);
    openssl(`${sign} -days -1 -out expired.crt`);
  }

  beforeAll(async () => {
    certify();
    port = await freePort();
    const tls = { "tls-port": port, "tls-cert-file": file("redis.crt"), "tls-key-file": file("redis.key"), "tls-ca-cert-file": file("ca.crt"), "tls-auth-clients": "no" }; // prettier-ignore
    queue = await testQueue(Object.entries(tls).flatMap(([name, value]) => [`--${name}`, String(value)]));
  });
  afterAll(async () => {
    await queue?.end();
    rmSync(certificates, { recursive: true, force: true });
  });

  const drawing = (out: string) =>
    `sample --model ${queue.at("tiny")} -n 8 --batch 4 --iterations 4,8 --threads 1 --no-preview --each ${queue.at(out)} --out ${queue.at(out)}.png`.split(
      " ",
    );
  const through = (url: string) => ["--queue", url, "--shared", queue.at("shared")];

  it.runIf(thorough)(
    "carries jobs if the authority is known",
    async () => {
      const known = { NODE_EXTRA_CA_CERTS: file("ca.crt") };
      const url = `rediss://localhost:${port}`;
      const usual = ["--cache", queue.at("cache"), "--threads", "1"];
      const worker = queue.withEnvironment(known, "worker", ...through(url), ...usual);
      const run = queue.withEnvironment(known, ...drawing("many"), ...through(url));
      const { code, err } = await run.ended;
      expect(code, err).toBe(0);
      expect((await call(...drawing("one"))).code).toBe(0);
      expect(filesOf(queue.at("many"))).toEqual(filesOf(queue.at("one")));
      worker.child.kill("SIGTERM");
      expect((await worker.ended).code).toBe(0);
    },
    120_000,
  );

  it.runIf(thorough)(
    "is refused with what to do about it",
    async () => {
      const known = { NODE_EXTRA_CA_CERTS: file("ca.crt") };
      let refused = 0;
      const refusal = async (url: string, env = {}) => {
        const { code, err } = await queue.withEnvironment(env, ...drawing(`never-${++refused}`), ...through(url)).ended;
        expect(code, err).toBe(2);
        return err;
      };
      // Redis itself waits for the rest of what it takes for a command.
      const other = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")).listen(0, "localhost");
      const past = { key: readFileSync(file("redis.key")), cert: readFileSync(file("expired.crt")) };
      const expired = createTlsServer(past).listen(0, "localhost");
      await Promise.all([once(other, "listening"), once(expired, "listening")]);
      const portOf = (server: typeof other) => (server.address() as AddressInfo).port;
      const said = await Promise.all([
        refusal(`rediss://localhost:${port}`),
        refusal(`rediss://127.0.0.1:${port}`, known),
        refusal(`rediss://localhost:${portOf(other)}`, known),
        refusal(`rediss://localhost:${portOf(expired)}`, known),
      ]);
      other.close();
      expired.close();
      expect(said[0]).toMatch(/certificate from an unknown authority \(\w+\); set .*NODE_EXTRA_CA_CERTS/);
      expect(said[1]).toMatch(/certificate for another host name/);
      expect(said[2]).toMatch(/does not speak TLS at this port/);
      expect(said[3]).toMatch(/certificate that is not valid \(CERT_HAS_EXPIRED\); renew it/);
      const unanswered = (url: string) => openConnection(queueAddress(url), { firstMs: 1000 });
      await expect(unanswered(`rediss://127.0.0.1:${queue.redis.port}`)).rejects.toThrow(
        /does not answer .*redis:\/\/ URL if it does not use TLS/,
      );
      await expect(unanswered(`redis://127.0.0.1:${port}`)).rejects.toThrow(
        /does not answer .*rediss:\/\/ URL if it uses TLS/,
      );
    },
    120_000,
  );
});

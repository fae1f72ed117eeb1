/** Host names, origins and keys: how options are parsed, and who is then allowed. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { hostName, originIn } from "./access.ts";
import type { ServerOptions } from "./app.ts";
import { answerSchemas } from "./schemas.ts";
import { optionWording } from "../cli/wording.ts";
import { gate, type TestModels, testModels, testServer } from "./test-models.ts";

let models: TestModels;
beforeAll(async () => {
  models = await testModels();
});
afterAll(() => models.remove());

/** Returns the statuses of requests with these headers. */
async function asked(options: Partial<ServerOptions>, requests: [Record<string, string>, string?, string?][]) {
  const server = testServer([models.tiny], { open: gate().open, ...options });
  const found: number[] = [];
  for (const [headers, path = "/v1/models", method = "GET"] of requests)
    found.push((await server.app.request(path, { headers, method })).status);
  await server.dispose();
  return found;
}

describe("an origin", () => {
  it.each([
    ["http://example.org/", "http://example.org"],
    ["HTTPS://Example.ORG:443", "https://example.org"],
    ["http://example.org:8080/", "http://example.org:8080"],
    ["https://bücher.example", "https://xn--bcher-kva.example"],
    ["http://[::1]:3000", "http://[::1]:3000"],
    ["chrome-extension://AbCdEf", "chrome-extension://abcdef"],
    ["tauri://localhost/", "tauri://localhost"],
    [" * ", "*"],
  ])("%j is %j", (text, origin) => expect(originIn(text)).toBe(origin));

  it.each([
    ["example.org", "did you mean https://example.org?"],
    ["example.org:8080/", "did you mean https://example.org:8080?"],
    ["https://example.org/app", "did you mean https://example.org?"],
    ["https://me@example.org", "did you mean https://example.org?"],
    ["https://example.org?x", "did you mean https://example.org?"],
    ["*.example.org", "for example https://example.org"],
    ["https://*.example.org", "for example https://example.org"],
    ["http://", "for example https://example.org"],
    ["null", "did you mean https://null?"],
    ["", "for example https://example.org"],
    ["https://a.example https://b.example", "for example https://example.org"],
  ])("%j is not an origin: %s", (text, hint) => {
    expect(() => originIn(text)).toThrow(UserError);
    expect(() => originIn(text)).toThrow(new RegExp(`^cors: expected an origin.*${hint.replaceAll(/[?.]/g, "\\$&")}$`));
  });

  it("given with a trailing slash matches what browsers send", async () => {
    const requests: [Record<string, string>][] = [
      [{ origin: "http://example.org" }],
      [{ origin: "http://example.net" }],
    ];
    expect(await asked({ cors: ["HTTP://Example.org/"] }, requests)).toEqual([200, 403]);
  });
});

describe("a host", () => {
  it.each([
    ["images.example.org", "images.example.org"],
    ["Images.Example.ORG.", "images.example.org"],
    ["images.example.org:8443", "images.example.org"],
    ["bücher.example", "xn--bcher-kva.example"],
    ["192.168.1.5", "192.168.1.5"],
    ["[fd00::1]:80", "[fd00::1]"],
  ])("%j is %j", (text, name) => expect(hostName(text)).toBe(name));

  it.each(["*.example.org", "https://example.org", "example.org/app", "a b", "", "user@example.org", "a,b/c"])(
    "%j is invalid",
    (text) => expect(() => hostName(text)).toThrow(/^allowHost: expected the name of a host/),
  );

  it("that is allowed is answered in addition to loopback names, and a refusal names the option", async () => {
    const server = testServer([models.tiny], {
      open: gate().open,
      loopback: true,
      names: ["Images.example.org"],
      wording: optionWording,
    });
    const ask = (host: string) => server.app.request("/v1/models", { headers: { host } });
    for (const host of ["images.example.org", "IMAGES.example.org:443", "images.example.org.", "localhost:7860"])
      expect((await ask(host)).status, host).toBe(200);
    for (const host of ["example.org", "x.images.example.org", "images.example.org.evil.example", "evil.example"]) {
      const answer = await ask(host);
      expect(answer.status, host).toBe(403);
      const { message } = answerSchemas.Error.parse(await answer.json()).error;
      expect(message).toContain(`(--allow-host ${host})`);
    }
    await server.dispose();
  });

  it("restricts a server on other addresses only if names were allowed", async () => {
    const requests: [Record<string, string>][] = [[{ host: "any.example" }], [{ host: "mine.example" }]];
    expect(await asked({}, requests)).toEqual([200, 200]);
    expect(await asked({ names: ["mine.example"] }, requests)).toEqual([403, 200]);
  });
});

describe("a proxy's X-Forwarded-Host", () => {
  const own = {
    host: "127.0.0.1:7860",
    "x-forwarded-host": "images.example.org",
    origin: "https://images.example.org",
  };
  const options = { loopback: true, names: ["images.example.org"] };

  it("is ignored unless the proxy is trusted", async () => {
    expect(
      await asked(options, [[own], [{ ...own, "x-forwarded-host": "evil.example", origin: "http://127.0.0.1:7860" }]]),
    ).toEqual([403, 200]);
  });

  it("defines the page's own origin if trusted, and must be a known name like the host itself", async () => {
    const behindProxy = true;
    const requests: [Record<string, string>][] = [
      [own],
      [{ ...own, "x-forwarded-host": "images.example.org, inner.example" }],
      [{ ...own, origin: "https://other.example" }],
      [{ ...own, "x-forwarded-host": "evil.example", origin: "https://evil.example" }],
      [{ ...own, host: "evil.example" }],
      [{ host: "localhost" }],
    ];
    expect(await asked({ ...options, behindProxy }, requests)).toEqual([200, 200, 403, 403, 403, 200]);
  });
});

describe("a key", () => {
  const apiKey = "correct-horse";
  const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString("base64")}` });

  it("opens everything as a bearer token or as a browser's password; without it only /healthz answers", async () => {
    for (const path of ["/v1/models", "/", "/metrics", "/openapi.json", "/models.json", "/v1/none"]) {
      const requests: [Record<string, string>, string][] = [
        [{}, path],
        [{ authorization: "Bearer wrong" }, path],
        [{ authorization: apiKey }, path],
        [{ authorization: `Bearer ${apiKey}x` }, path],
        [basic(`${apiKey}:x`), path],
        [{ authorization: `Bearer ${apiKey}` }, path],
        [{ authorization: `bearer  ${apiKey}` }, path],
        [basic(`anyone:${apiKey}`), path],
        [basic(`:${apiKey}`), path],
      ];
      const found = await asked({ apiKey, shareWeights: true }, requests);
      expect(found.slice(0, 5), path).toEqual([401, 401, 401, 401, 401]);
      const open = path === "/v1/none" ? 404 : 200;
      expect(found.slice(5), path).toEqual([open, open, open, open]);
    }
    expect(await asked({ apiKey }, [[{}, "/healthz"]])).toEqual([200]);
    expect(await asked({}, [[{}], [{ authorization: "Bearer anything" }]])).toEqual([200, 200]);
  });

  it("is requested with a Bearer challenge under /v1 and a Basic challenge elsewhere", async () => {
    const server = testServer([models.tiny], { open: gate().open, apiKey });
    const challenge = async (path: string) => (await server.app.request(path)).headers.get("www-authenticate");
    expect(await challenge("/v1/models")).toBe("Bearer");
    expect(await challenge("/")).toMatch(/^Basic realm="[^"]+"$/);
    const answer = await server.app.request("/v1/models", { headers: { authorization: "Bearer no" } });
    const { error } = answerSchemas.Error.parse(await answer.json());
    expect(error).toMatchObject({ code: "invalid_api_key", message: "the API key is wrong" });
    await server.dispose();
  });

  it("is not needed for a preflight, and allowed origins can read its refusal", async () => {
    const server = testServer([models.tiny], { open: gate().open, apiKey, cors: ["https://friend.example"] });
    const origin = "https://friend.example";
    const preflight = await server.app.request("/v1/models", {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "GET", "access-control-request-headers": "authorization" },
    });
    expect([preflight.status, preflight.headers.get("access-control-allow-headers")]).toEqual([204, "authorization"]);
    const refused = await server.app.request("/v1/models", { headers: { origin } });
    expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([401, origin]);
    await server.dispose();
  });
});

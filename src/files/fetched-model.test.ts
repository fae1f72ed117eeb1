/** Fetching a model's two files from a server that answers correctly, with errors, or incompletely. */

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { UserError } from "../core/errors.ts";
import { externalModel } from "./external.ts";
import { fetchModel } from "./fetched-model.ts";
import { readModelFolder } from "./model.ts";
import { serve, type TestRequest, type TestServer, testServer } from "./test-server.ts";

const folder = "models/emoji";
const bytesOf = ({ request }: TestRequest): Buffer => readFileSync(`${folder}/${basename(request.url!)}`);
const isConfig = ({ request }: TestRequest): boolean => request.url!.endsWith("config.json");

let server: TestServer;
beforeAll(async () => {
  server = await testServer();
});
afterAll(() => server.close());

const fetchIt = (progress: (share: number) => void = () => {}) => fetchModel(`${server.origin}/some/`, progress);

it("fetches a model folder into memory and reports progress", async () => {
  server.answer = (asked) => serve(asked, bytesOf(asked));
  const shares: number[] = [];
  const { files, config, weights } = await fetchIt((share) => shares.push(share));
  const local = externalModel(readModelFolder(folder));
  expect(config).toEqual(local.config);
  expect(weights("class_emb.weight")).toEqual(local.weights("class_emb.weight"));
  expect(Object.keys(files)).toEqual(["model.safetensors"]);
  const equal = readFileSync(`${folder}/model.safetensors`).equals(files["model.safetensors"]);
  expect(equal, "the weights are equal to the byte").toBe(true); // toEqual would take minutes for 12 MB
  expect(shares.at(-1)).toBe(1);
  expect(shares).toEqual(shares.toSorted((a, b) => a - b));
});

describe("is one sentence", () => {
  it.each<[string, (asked: TestRequest) => void, RegExp]>([
    [
      "if a file is missing",
      (asked) => (isConfig(asked) ? serve(asked, bytesOf(asked)) : asked.response.writeHead(404).end()),
      /^the model's weights could not be fetched: the server answered 404/,
    ],
    [
      "if a page is sent instead of the configuration",
      ({ response }) => response.end("<!doctype html>"),
      /^the model's config\.json is not JSON; check the address/,
    ],
    [
      "if a web page is sent instead of the weights",
      (asked) =>
        isConfig(asked)
          ? serve(asked, bytesOf(asked))
          : asked.response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<!doctype html>"),
      /^the model's weights could not be fetched: the server answered with a web page/,
    ],
    [
      "if the connection closes early",
      (asked) => serve(asked, bytesOf(asked), isConfig(asked) ? {} : { cutAfter: 100_000 }),
      /^the download of the model's weights stopped after \d+ bytes/,
    ],
    [
      "if there is no answer",
      ({ response }) => response.destroy(),
      /^the model's config\.json could not be fetched; check the connection/,
    ],
  ])("%s", async (_, answer, sentence) => {
    server.answer = answer;
    await expect(fetchIt()).rejects.toThrow(UserError);
    await expect(fetchIt()).rejects.toThrow(sentence);
  });

  it.each<[string, (asked: TestRequest) => void, RegExp]>([
    [
      "in the middle of a file",
      ({ response }) => response.write("{"),
      /^the download of the model's weights stopped after 1 bytes/,
    ],
    ["before the answer", () => {}, /^the model's config\.json could not be fetched; check the connection/],
  ])("if the line falls silent for a minute %s", async (_, answer, sentence) => {
    server.answer = (asked) =>
      isConfig(asked) && sentence.source.includes("stopped") ? serve(asked, bytesOf(asked)) : answer(asked);
    const wait = globalThis.setTimeout;
    const shorter = ((run: () => void, ms?: number) => wait(run, ms === 60_000 ? 300 : ms)) as typeof setTimeout;
    const spy = vi.spyOn(globalThis, "setTimeout").mockImplementation(shorter);
    try {
      await expect(fetchIt()).rejects.toThrow(sentence);
    } finally {
      spy.mockRestore();
    }
  });
});

/** Parses forms with files (multipart/form-data) incrementally and within limits. Independent of field names. */

import { Busboy, type BusboyInstance } from "@fastify/busboy";
import { type Mistake, UserError } from "../core/errors.ts";

/** Texts and files' bytes by field name, in order of arrival. */
export type FormParts = ReadonlyMap<string, readonly (string | Uint8Array)[]>;

/** Far above what any client sends; only an attacker sends a form with thousands of parts. */
const most = {
  fields: 64,
  files: 32,
  parts: 96,

  fieldSize: 32_768,
  headerPairs: 16,
  headerSize: 4096,
};

const malformed = () =>
  new UserError({
    problem: "the body is not a valid form with files (multipart/form-data): it does not match its Content-Type",
  });

/** Throws a `UserError` if the form is malformed, truncated or exceeds the limits. */
export async function readForm(contentType: string, chunks: AsyncIterable<Uint8Array>): Promise<FormParts> {
  const found = new Map<string, (string | Uint8Array)[]>();
  const add = (name: string, value: string | Uint8Array) => found.set(name, [...(found.get(name) ?? []), value]);
  const parser = parserOf(contentType);
  let wrong: Error | undefined;
  const refuse = (mistake: Mistake) => (wrong ??= new UserError(mistake));
  const done = new Promise<void>((resolve) => parser.once("finish", resolve).once("error", () => resolve()));
  parser.on("error", () => (wrong ??= malformed()));
  for (const [event, limit] of [
    ["fieldsLimit", "fields"],
    ["filesLimit", "files"],
    ["partsLimit", "parts"],
  ] as const)
    parser.on(event, () => refuse({ problem: `the form has more than ${most[limit]} ${limit}` }));
  parser.on("field", (name, value, _, valueCut) => {
    if (valueCut) refuse({ subject: name, expected: `at most ${most.fieldSize} bytes of text` });
    else add(name, value);
  });
  parser.on("file", (name, file) => {
    const parts: Uint8Array[] = [];
    file.on("data", (part: Buffer) => parts.push(part));
    file.on("end", () => add(name, Buffer.concat(parts)));
    file.on("error", () => (wrong ??= malformed()));
  });
  for await (const slice of slices(chunks)) {
    // Wait for each write, or the parser processes all deferred parts at once.
    await new Promise<void>((resolve) => parser.write(slice, () => resolve()));
    if (wrong) break;
  }
  parser.end();
  if (!wrong) await done;
  if (wrong) throw wrong;
  return found;
}

/** The parser pauses only between writes, and a chunk can hold a thousand parts. */
const sliceBytes = 4096;
const sliceMs = 5;

/** Splits chunks into small slices and yields to other work every few milliseconds. */
async function* slices(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    let started = performance.now();
    for (let at = 0; at < chunk.length; at += sliceBytes) {
      yield chunk.subarray(at, at + sliceBytes);
      if (performance.now() - started < sliceMs) continue;
      await new Promise((resolve) => setImmediate(resolve));
      started = performance.now();
    }
  }
}

function parserOf(contentType: string): BusboyInstance {
  try {
    return new Busboy({ headers: { "content-type": contentType }, limits: most });
  } catch {
    throw malformed();
  }
}

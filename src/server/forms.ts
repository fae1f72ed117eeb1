/** Forms with files (multipart/form-data), parsed as they come and within bounds. Knows no field. */

import { Busboy, type BusboyInstance } from "@fastify/busboy";
import { UserError } from "../core/errors.ts";

/** A text or a file's bytes, by name, in the order of coming. */
export type FormParts = ReadonlyMap<string, readonly (string | Uint8Array)[]>;

/** Far above what any client sends: a form of thousands of parts is no honest one. */
const most = {
  fields: 64,
  files: 32,
  parts: 96,

  fieldSize: 32_768,
  headerPairs: 16,
  headerSize: 4096,
};

const malformed = () => new UserError("the body is no form with files: it does not follow its own Content-Type");

/** Throws a UserError where the form is malformed, ends early or goes beyond the bounds. */
export async function readForm(contentType: string, chunks: AsyncIterable<Uint8Array>): Promise<FormParts> {
  const found = new Map<string, (string | Uint8Array)[]>();
  const add = (name: string, value: string | Uint8Array) => found.set(name, [...(found.get(name) ?? []), value]);
  const parser = parserOf(contentType);
  let wrong: Error | undefined;
  const refuse = (message: string) => (wrong ??= new UserError(message));
  const done = new Promise<void>((resolve) => parser.once("finish", resolve).once("error", () => resolve()));
  parser.on("error", () => (wrong ??= malformed()));
  for (const [event, limit] of [
    ["fieldsLimit", "fields"],
    ["filesLimit", "files"],
    ["partsLimit", "parts"],
  ] as const)
    parser.on(event, () => refuse(`the form has more than ${most[limit]} ${limit}`));
  parser.on("field", (name, value, _, valueCut) => {
    if (valueCut) refuse(`${name}: expected at most ${most.fieldSize} bytes of text`);
    else add(name, value);
  });
  parser.on("file", (name, file) => {
    const parts: Uint8Array[] = [];
    file.on("data", (part: Buffer) => parts.push(part));
    file.on("end", () => add(name, Buffer.concat(parts)));
    file.on("error", () => (wrong ??= malformed()));
  });
  for await (const slice of slices(chunks)) {
    // One at a time, or what the parser has put off comes all at once.
    await new Promise<void>((resolve) => parser.write(slice, () => resolve()));
    if (wrong) break;
  }
  parser.end();
  if (!wrong) await done;
  if (wrong) throw wrong;
  return found;
}

/** The parser stops between writes only, and some chunks hold a thousand parts. */
const sliceBytes = 4096;
const sliceMs = 5;

/** Small pieces, between which others have their turn as soon as some milliseconds are over. */
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

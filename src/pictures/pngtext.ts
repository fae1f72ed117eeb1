/** Writes the chunks of a PNG file, and reads its text. Knows nothing of the text's meaning or of pixels. */

import { joined } from "../core/arrays.ts";

/** The first bytes of every PNG file. */
export const pngSignature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const headerEnd = 33; // signature, and the IHDR chunk with its 13 bytes

/**
 * Inserts one chunk for each entry of `text` right after the header: tEXt for Latin-1 text, iTXt (UTF-8) for any other.
 * A keyword has 1 to 79 printable Latin-1 characters and neither begins nor ends with a space.
 */
export function insertPngText(png: Uint8Array, text: Readonly<Record<string, string>>): Uint8Array {
  checkSignature(png);
  const chunks = Object.entries(text).map(([keyword, value]) => textChunk(keyword, value));
  return joined([png.subarray(0, headerEnd), ...chunks, png.subarray(headerEnd)]);
}

/** The text of the PNG's uncompressed tEXt and iTXt chunks by keyword; the last of several equal keywords wins. */
export function readPngText(png: Uint8Array): Record<string, string> {
  checkSignature(png);
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const found: [string, string][] = [];
  for (let start = pngSignature.length; start + 12 <= png.length; start += 12 + view.getUint32(start)) {
    const type = fromLatin1(png.subarray(start + 4, start + 8));
    const content = png.subarray(start + 8, start + 8 + view.getUint32(start));
    const keywordEnd = content.indexOf(0);
    if ((type !== "tEXt" && type !== "iTXt") || keywordEnd < 0) continue;
    const keyword = fromLatin1(content.subarray(0, keywordEnd));
    const rest = content.subarray(keywordEnd + 1);
    if (type === "tEXt") found.push([keyword, fromLatin1(rest)]);
    else if (rest[0] === 0) {
      // compression flag, compression method, language, translated keyword, text
      const translated = rest.indexOf(0, 2) + 1;
      found.push([keyword, new TextDecoder().decode(rest.subarray(rest.indexOf(0, translated) + 1))]);
    }
  }
  return Object.fromEntries(found);
}

function textChunk(keyword: string, value: string): Uint8Array {
  if (!/^(?! )[\x20-\x7e\xa1-\xff]{1,79}(?<! )$/.test(keyword))
    throw new Error(
      `png text: "${keyword}" is not a keyword; expected 1 to 79 printable Latin-1 characters, no space at the ends`,
    );
  if (value.includes("\0")) throw new Error(`png text: the text of "${keyword}" has a zero character`);
  return /^[\n\x20-\x7e\xa0-\xff]*$/.test(value)
    ? pngChunk("tEXt", joined([toLatin1(`${keyword}\0`), toLatin1(value)]))
    : pngChunk("iTXt", joined([toLatin1(`${keyword}\0\0\0\0\0`), new TextEncoder().encode(value)]));
}

/** A chunk: length, type, content, and the checksum of type and content. */
export function pngChunk(type: string, content: Uint8Array): Uint8Array {
  const bytes = joined([new Uint8Array(4), toLatin1(type), content, new Uint8Array(4)]);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  view.setUint32(bytes.length - 4, crc32(bytes.subarray(4, -4)));
  return bytes;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** CRC-32 as used by PNG and zlib (Node has its own only from version 22). */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function checkSignature(png: Uint8Array): void {
  if (png.length < headerEnd || pngSignature.some((byte, index) => png[index] !== byte))
    throw new Error("png text: the bytes are not a PNG file");
}

const toLatin1 = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

// TextDecoder's "latin1" is windows-1252, which differs between 0x80 and 0x9f.
const fromLatin1 = (bytes: Uint8Array) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");

/** A local web server for tests that answers as scripted: correctly, truncated, or wrongly. Knows nothing of its
 *  clients. */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface TestRequest {
  request: IncomingMessage;
  response: ServerResponse;
  /** The number of earlier requests. */
  attempt: number;
  /** The first byte requested. */
  from: number;
}

export interface TestServer {
  /** "http://127.0.0.1:1234" */
  origin: string;
  /** The handler; set by a test. */
  answer: (request: TestRequest) => void;
  /** Headers of all requests so far; a test clears it to restart the count. */
  requests: { range?: string; ifRange?: string; encoding?: string; authorization?: string }[];
  close(): Promise<void>;
}

export async function testServer(): Promise<TestServer> {
  const server = createServer((request, response) => {
    const { range, authorization, "if-range": ifRange, "accept-encoding": encoding } = request.headers;
    const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    const attempt =
      made.requests.push({
        range,
        authorization,
        ifRange: ifRange as string | undefined,
        encoding: encoding as string | undefined,
      }) - 1;
    made.answer({ request, response, from, attempt });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const made: TestServer = {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answer: ({ response }) => response.writeHead(404).end(),
    requests: [],
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  return made;
}

export interface Serving {
  etag?: string | null;
  lastModified?: string;
  /** Sends only this many bytes of the body, then closes the connection. */
  cutAfter?: number;
  ranges?: boolean;
  /** False: sends a range of the file even if the request's If-Range does not match. */
  conditions?: boolean;
  chunked?: boolean;
  contentRange?: string;
}

/** Gives the receiver time to read, because unread data are lost when the connection is closed. */
const cutMs = 60;

/** Sends `bytes` like a real server: 206 if a range is requested and its condition holds, unless scripted otherwise. */
export function serve(
  { request, response, from }: TestRequest,
  bytes: Buffer,
  { etag = '"one"', lastModified, cutAfter, ranges = true, conditions = true, chunked, contentRange }: Serving = {},
): void {
  const condition = conditions ? request.headers["if-range"] : undefined;
  const partial =
    ranges && request.headers.range !== undefined && (!condition || condition === etag || condition === lastModified);
  const body = partial ? bytes.subarray(from) : bytes;
  response.writeHead(partial ? 206 : 200, {
    ...(!chunked && { "content-length": body.length }),
    ...(etag !== null && { etag }),
    ...(lastModified && { "last-modified": lastModified }),
    ...(partial && { "content-range": contentRange ?? `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
  });
  if (cutAfter === undefined || cutAfter >= body.length) response.end(body);
  else if (cutAfter === 0) response.destroy();
  else response.write(body.subarray(0, cutAfter), () => setTimeout(() => response.destroy(), cutMs));
}

/** A web server for tests, on this machine, that sends what it is told to: as it should be, cut short, or wrong.
 *  Knows nothing of what asks it. */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface TestRequest {
  request: IncomingMessage;
  response: ServerResponse;
  /** How many came before it. */
  attempt: number;
  /** The first byte asked for. */
  from: number;
}

export interface TestServer {
  /** "http://127.0.0.1:1234" */
  origin: string;
  /** What it does; a test sets it. */
  answer: (request: TestRequest) => void;
  /** Headers of the requests so far; a test empties it to begin a new count of attempts. */
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
  /** Sends only so many bytes of the body, then cuts the connection. */
  cutAfter?: number;
  ranges?: boolean;
  /** False: sends a range of the file even where the request's If-Range says not to. */
  conditions?: boolean;
  chunked?: boolean;
  contentRange?: string;
}

/** What a receiver has not yet read when a connection is cut is lost, so it is given a moment. */
const cutMs = 60;

/** Sends `bytes` as servers do it: 206 where a range is asked for and its condition holds, unless told otherwise. */
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

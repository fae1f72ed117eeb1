/** Serves at an address and shuts down gracefully: running requests are finished and answered first. */

import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { UserError } from "../core/errors.ts";
import type { FractalServer } from "./app.ts";

/** A listening server. */
export interface Listening {
  url: string;
  /** Finishes accepted work, refuses new work with 503, then closes. */
  close(): Promise<void>;
}

/** Longer than clients and proxies keep connections, so that none is closed just as they send a request. */
const keepAliveMs = 75_000;
/** How long finished responses and streams have to reach their readers. */
const lastMs = 5000;
const connectionsMost = 4096;

/** Listens on a host and port (0: any free port) and resolves to the address. Throws a `UserError` if it cannot. */
export async function listen(
  server: FractalServer,
  { host, port }: { host: string; port: number },
): Promise<Listening> {
  const http = createAdaptorServer({
    fetch: server.app.fetch,
    autoCleanupIncoming: false, // `lingering` handles unread bodies
    serverOptions: { keepAliveTimeout: keepAliveMs },
  }) as Server;
  http.maxConnections = connectionsMost;
  lingering(http);
  const silent = silentSockets(http);
  http.listen(port, host);
  await once(http, "listening").catch((error: NodeJS.ErrnoException) => {
    throw refused(error, { host, port });
  });
  const address = http.address() as AddressInfo;
  const name = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return {
    url: `http://${name}:${address.port}`,
    async close() {
      await server.drain();
      const closed = once(http, "close");
      http.close();
      // Keep-alive connections would delay closing, so they are destroyed as soon as their last response is written.
      const idle = setInterval(() => silent.forEach((socket) => socket.destroy()), 50);
      const late = setTimeout(() => http.closeAllConnections(), lastMs);
      await closed;
      clearInterval(idle);
      clearTimeout(late);
      await server.dispose();
    },
  };
}

/** How much of a refused body is still read, and for how long, so that the client can read the refusal. */
const linger = { bytes: 16e6, ms: 3000 };

/**
 * If a connection is closed while its client is still sending, it is reset and the client may never see the response. So
 * only our half is closed at first, and more of the body is read and discarded until the client closes its half.
 */
function lingering(http: Server): void {
  http.on("request", (incoming, response) => {
    const { socket } = incoming;
    // Runs before Node's own listener, which closes the connection.
    response.prependOnceListener("finish", () => {
      if (incoming.complete || response.shouldKeepAlive || socket.destroyed) return;
      let left = linger.bytes;
      const over = setTimeout(() => socket.destroy(), linger.ms);
      socket.once("close", () => clearTimeout(over)).once("end", () => socket.destroy());
      socket.destroySoon = () => socket.end();
      incoming.removeAllListeners("data").on("error", () => {}); // the client may close in the middle of its body
      incoming.on("data", (part: Buffer) => (left -= part.length) < 0 && incoming.pause()).resume();
    });
  });
}

/** Connections without a request in progress. Node's own idle connections exclude those that never sent a request. */
function silentSockets(http: Server): Set<Socket> {
  const silent = new Set<Socket>();
  http.on("connection", (socket) => {
    silent.add(socket);
    socket.once("close", () => silent.delete(socket));
  });
  http.on("request", ({ socket }, response) => {
    silent.delete(socket);
    response.once("close", () => socket.destroyed || silent.add(socket));
  });
  return silent;
}

function refused(error: NodeJS.ErrnoException, { host, port }: { host: string; port: number }): Error {
  if (error.code === "EADDRINUSE")
    return new UserError({
      subject: { setting: "port" },
      problem: `${port} is already in use on ${host}`,
      hint: "choose another, or 0 for any free port",
    });
  if (error.code === "EACCES")
    return new UserError({
      subject: { setting: "port" },
      problem: `no permission to listen on ${port}`,
      hint: "choose a port of 1024 or above",
    });
  if (error.code === "EADDRNOTAVAIL" || error.code === "ENOTFOUND")
    return new UserError({ subject: { setting: "host" }, problem: `${host} is not an address of this machine` });
  return error;
}

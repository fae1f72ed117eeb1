/** The server at an address, and its end: what runs is finished and answered first. */

import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { UserError } from "../core/errors.ts";
import type { FractalServer } from "./app.ts";

/** A server that listens. */
export interface Listening {
  url: string;
  /** Finishes what was taken on while new work gets 503, then ends. */
  close(): Promise<void>;
}

/** Longer than clients and proxies keep connections, so that these do not find one closed just as they ask. */
const keepAliveMs = 75_000;
/** How long finished answers and streams have to reach their readers. */
const lastMs = 5000;
const connectionsMost = 4096;

/** Listens at a host and port (0: any that is free) and resolves with the address. Throws a `UserError` where it cannot. */
export async function listen(
  server: FractalServer,
  { host, port }: { host: string; port: number },
): Promise<Listening> {
  const http = createAdaptorServer({
    fetch: server.app.fetch,
    autoCleanupIncoming: false, // `lingering` sees to what is left of a body
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
      // Connections are kept for a client's next request; they go as their last answers are written.
      const idle = setInterval(() => silent.forEach((socket) => socket.destroy()), 50);
      const late = setTimeout(() => http.closeAllConnections(), lastMs);
      await closed;
      clearInterval(idle);
      clearTimeout(late);
      await server.dispose();
    },
  };
}

/** What is still read of a body that was refused, and for how long, so that the refusal can be read. */
const linger = { bytes: 16e6, ms: 3000 };

/**
 * A connection that is closed while its client still sends is reset, and the client may never see the answer that told
 * it to stop. So only our half is closed at first; some more of the body is read and dropped, until the client closes too.
 */
function lingering(http: Server): void {
  http.on("request", (incoming, response) => {
    const { socket } = incoming;
    // Before Node's own listener, which ends the connection.
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

/** The connections on which nothing is being answered. Node's own idle ones leave out those that never asked anything. */
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
      problem: `${port} is taken at ${host}`,
      hint: "choose another, or 0 for any that is free",
    });
  if (error.code === "EACCES")
    return new UserError({
      subject: { setting: "port" },
      problem: `no permission to listen at ${port}`,
      hint: "take one from 1024 on",
    });
  if (error.code === "EADDRNOTAVAIL" || error.code === "ENOTFOUND")
    return new UserError({ subject: { setting: "host" }, problem: `${host} is no address of this machine` });
  return error;
}

/** The address of a queue: a Redis or Valkey URL. Its password never appears in a message. */

import { isIP } from "node:net";
import { UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";

/** How to connect to a server, and how messages name it. */
export interface QueueAddress {
  host: string;
  port: number;
  username?: string;
  password?: string;
  db: number;
  tls?: { servername?: string };
  /** Host, port and database, without user or password. */
  name: string;
}

/** Parses `redis://user:password@host:port/db`, or `rediss://` for TLS. Throws a UserError that does not repeat the URL. */
export function queueAddress(url: string): QueueAddress {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const { protocol = "", hostname = "", port = "", pathname = "", search, hash, username, password } = parsed ?? {};
  const more = search || hash;
  if (!/^(rediss?|valkeys?):$/.test(protocol) || hostname === "" || !/^(\/\d*)?$/.test(pathname) || more)
    throw new UserError({
      subject: { setting: "queue" },
      expected: "a URL such as redis://host:6379, or rediss://user:password@host:6380/0 for TLS with a password",
      got: shown(protocol === "" ? "something else" : `one that starts with ${protocol}`),
      ...(/:\/\/.*[/?#].*@/.test(url) && { hint: "write / ? and # in a password as %2F %3F and %23" }),
    });
  const host = hostname.replace(/^\[|\]$/g, "");
  const address = { host, port: Number(port || 6379), db: Number(pathname.slice(1) || 0) };
  return {
    ...address,
    ...(username && { username: decoded(username) }),
    ...(password && { password: decoded(password) }),
    ...((protocol === "rediss:" || protocol === "valkeys:") && { tls: isIP(host) === 0 ? { servername: host } : {} }),
    name: `${hostname}:${address.port}${address.db > 0 ? `/${address.db}` : ""}`,
  };
}

/** Returns the text unchanged if it has a percent sign that encodes nothing. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

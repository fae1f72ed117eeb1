/** Addresses of queues: how URLs are parsed, and what messages may reveal of them. */

import { expect, it } from "vitest";
import { queueAddress } from "./address.ts";

it.each([
  ["redis://host", { host: "host", port: 6379, db: 0, name: "host:6379" }],
  ["redis://host:7000/2", { host: "host", port: 7000, db: 2, name: "host:7000/2" }],
  ["valkey://host", { host: "host", port: 6379, db: 0, name: "host:6379" }],
  ["redis://[::1]:7000", { host: "::1", port: 7000, db: 0, name: "[::1]:7000" }],
  ["redis://:p%40ss@host", { host: "host", port: 6379, db: 0, password: "p@ss", name: "host:6379" }],
  ["redis://me:100%25%zz@host", { host: "host", port: 6379, db: 0, username: "me", password: "100%25%zz", name: "host:6379" }], // prettier-ignore
  ["rediss://host", { host: "host", port: 6379, db: 0, tls: { servername: "host" }, name: "host:6379" }],
  ["valkeys://host", { host: "host", port: 6379, db: 0, tls: { servername: "host" }, name: "host:6379" }],
])("%s", (url, address) => expect(queueAddress(url)).toEqual(address));

it.each([
  "redis://me:a#b@host",
  "redis://me:1#b@host",
  "redis://me:1?b@host",
  "redis://me:1/b@host",
  "redis://:a/b@host",
])("says how to write %j, without repeating its password", (url) => {
  expect(() => queueAddress(url)).toThrow(/^queue: expected a URL such as .*; write \/ \? and # in a password as %2F/);
  expect(() => queueAddress(url)).not.toThrow(/me:|[ab]@|1[#?/]b/);
});

it.each([
  "redis://host?a",
  "redis://host#a",
  "",
  "host",
  "host:6379",
  "http://host",
  "redis://",
  "redis://host/name",
  "secret://me:secret@host",
])("refuses %j without repeating it", (url) => {
  expect(() => queueAddress(url)).toThrow(/^queue: expected a URL such as/);
  expect(() => queueAddress(url)).not.toThrow(/me:secret/);
});

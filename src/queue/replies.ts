/** What Redis answers when it cannot do its work, in words for users. */

import { UserError } from "../core/errors.ts";

const faults: readonly { pattern: RegExp; problem: string; hint: string }[] = [
  {
    pattern: /NOAUTH|WRONGPASS|invalid.*password|invalid DB|DB index/i,
    problem: "refused the connection",
    hint: "put the right user, password and database into the URL, redis://user:password@host:6379/0",
  },
  {
    pattern: /NOPERM/,
    problem: "does not permit a command that the queue needs",
    hint: "give its user all commands on the keys fractalgen:* (ACL SETUSER)",
  },
  {
    pattern: /READONLY/,
    problem: "is a replica, which accepts no writes",
    hint: "give the URL of its primary",
  },
  { pattern: /\bOOM\b/, problem: "has no memory left", hint: "raise its maxmemory, or remove other data from it" },
  {
    pattern: /MISCONF|NOREPLICAS/,
    problem: "accepts no writes at the moment",
    hint: "free some space on its disk, or repair its replicas",
  },
  {
    pattern: /MOVED|CROSSSLOT|CLUSTERDOWN|cluster mode/,
    problem: "is a cluster, over which a queue cannot be spread",
    hint: "give the URL of a Redis that is not in cluster mode",
  },
];

/** The reply and those that it sums up. */
const textOf = ({ message, previousErrors = [] }: Error & { previousErrors?: Error[] }): string =>
  [message, ...previousErrors.map((one) => one.message)].join("; ");

/** Whether Redis itself answered with an error. */
export const isReply = (error: unknown): error is Error => error instanceof Error && error.name === "ReplyError";

/** Whether the reply is that of a wrong password, user or database, which would otherwise be tried again for ever. */
export const isRefusal = (error: Error): boolean =>
  faults.slice(0, 2).some(({ pattern }) => pattern.test(textOf(error)));

/** Turns an error that Redis at `name` answered with into a UserError; returns any other error unchanged. */
export function explainedReply(error: unknown, name: string): unknown {
  if (!isReply(error)) return error;
  const text = textOf(error);
  const { problem, hint } = faults.find(({ pattern }) => pattern.test(text)) ?? {
    problem: "refused a command",
    hint: "give the URL of a Redis or Valkey that other programs do not restrict",
  };
  return new UserError(
    { subject: { setting: "queue" }, problem: `Redis at ${name} ${problem} (${text})`, hint },
    { cause: error },
  );
}

/** A page on the jobs of workers: Bull Board. Loaded only by servers that have a queue. */

import type { Queue } from "bullmq";
import type { Hono } from "hono";

/** Where the page is. */
export const queuesPath = "/queues";

/** The page's routes, to be mounted at `queuesPath`. */
export async function queuesPage(queues: readonly Queue[]): Promise<Hono> {
  const [{ createBullBoard }, { BullMQAdapter }, { HonoAdapter }, { serveStatic }] = await Promise.all([
    import("@bull-board/api"),
    import("@bull-board/api/bullMQAdapter"),
    import("@bull-board/hono"),
    import("@hono/node-server/serve-static"),
  ]);
  const serverAdapter = new HonoAdapter(serveStatic).setBasePath(queuesPath);
  createBullBoard({
    queues: queues.map((queue) => new BullMQAdapter(queue)),
    serverAdapter,
    options: { uiConfig: { boardTitle: "fractalgen" } },
  });
  return serverAdapter.registerPlugin() as unknown as Hono;
}

/** The HTTP API as a value: routes and middleware. Does not listen. */

import type { HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { routePath } from "hono/route";
import type { Sampler } from "../sample/sampler.ts";
import { shown } from "../core/text.ts";
import { parallelSampler } from "../workers/sampling.ts";
import { type AccessOptions, onlyKnownNames, onlyOwnPages, onlyWithKey } from "./access.ts";
import { imagesAnswer, modelAnswer } from "./answers.ts";
import { bodyReader } from "./bodies.ts";
import { capacity } from "./capacity.ts";
import { ApiError, apiError, errorResponse } from "./errors.ts";
import { eventStream } from "./events.ts";
import { imageStream } from "./image-stream.ts";
import { type BackgroundJob, jobStore } from "./jobs.ts";
import { serverMetrics } from "./metrics.ts";
import { elsewhere } from "./methods.ts";
import { modelNamed, type ServedModel } from "./models.ts";
import { openApiDocument } from "./openapi.ts";
import { drawingQueue } from "./queue.ts";
import { queuesPath } from "./queues.ts";
import { type Asked, readEdit, readEither, readGeneration, type RequestContext } from "./requests.ts";
import { defaultLimits, type Limits, requestSchemas } from "./schemas.ts";
import { isStudioFile, offerModels, studio } from "./studio.ts";

/** What a server offers, who may use it, and its limits. */
export interface ServerOptions extends AccessOptions {
  models: readonly ServedModel[];
  version: string;
  /** CPU threads, bytes of memory for all models together, and the largest batch. */
  threads: number;
  memory: number;
  batch?: number;
  limits?: Partial<Limits>;
  /** Other origins whose pages may call the server. */
  cors?: readonly string[];
  /** Without a key, anyone who can reach the server can use it. */
  apiKey?: string;
  /** The folder that holds the built studio. */
  studio?: string;
  /** Lets the studio run the models in the browser. Anyone with access to the server can then download their weights. */
  shareWeights?: boolean;
  /** Milliseconds without an event after which an event stream sends a heartbeat comment. */
  heartbeat?: number;
  /** Opens the sampler that draws a lane's batches; a worker thread by default. */
  open?: (model: ServedModel, threads: number) => Sampler;
  /** Batches are generated on other machines. */
  elsewhere?: Elsewhere;
  /** Called with every internal error, to log it. */
  onFault?: (error: unknown) => void;
}

/** The machines that generate a server's batches. */
export interface Elsewhere {
  /** Batches at once. */
  lanes: number;
  /** Returns how many machines share the images that wait. */
  workers(): number;
  /** Returns further metrics in Prometheus' text format. */
  metrics(): Promise<string>;
  /** Routes of a page on the jobs. */
  queues?: Hono;
}

/** A server that does not listen yet. */
export interface FractalServer {
  app: Hono;
  /** Refuses new work (503) and resolves when all accepted work is finished. */
  drain(): Promise<void>;
  /** Stops the engine and cancels unfinished images. */
  dispose(): Promise<void>;
}

/** Creates the HTTP API and the studio; pass it to `listen` to serve it. Throws a `UserError` if the memory is too small. */
export function fractalServer(options: ServerOptions): FractalServer {
  const { models, version, threads, memory, batch = 16, onFault = () => {}, heartbeat } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const room = capacity(models, { threads, memory, batch });
  const { open = ({ folder }, threads) => parallelSampler(folder, { threads, lanes: 1 }) } = options;
  const queue = drawingQueue({
    lanes: room.lanes,
    workers: options.elsewhere?.workers,
    most: limits.queue,
    open: (model) => open(model, room.threads),
    onFault,
  });
  const finish = (asked: Asked, images: Uint8Array) => imagesAnswer(asked, images, version);
  const jobs = jobStore({ queue, finish, most: limits.jobs, mostMs: limits.jobsMs });
  const metrics = serverMetrics({ version });
  const schemas = requestSchemas(limits);
  const context: RequestContext = { models, schemas, batchOf: room.batchOf, bodies: bodyReader(limits), limits };
  const document = openApiDocument({ version, limits, withKey: options.apiKey !== undefined });
  const created = Math.floor(Date.now() / 1000);
  const turn = oneByOne();
  let stopping = false;

  const app = new Hono();
  app.use(async (c, next) => {
    const started = performance.now();
    await next();
    closeAfterLeftBody(c);
    const route = routePath(c); // of the handler that answered: /* for the studio and for refusals
    const { method } = c.req;
    metrics.request({ method, route, status: c.res.status }, (performance.now() - started) / 1000);
  });
  app.use(onlyKnownNames(options));
  app.use(onlyOwnPages(options.cors ?? [], options));
  if (options.apiKey !== undefined) app.use(onlyWithKey(options.apiKey));
  const takingOn = async (_: Context, next: () => Promise<void>) => {
    if (stopping) throw new ApiError(503, "the server is stopping and accepts no new work", { retryAfter: 10 });
    await turn();
    await next();
  };

  /** Draws while the client waits. If the client disconnects, its images leave the queue. */
  const answer = async (c: Context, asked: Asked) => {
    if (asked.stream) return imageStream(c, asked, { queue, finish, heartbeat });
    return c.json(await finish(asked, await queue.draw(asked.order, { signal: c.req.raw.signal })));
  };
  app.post("/v1/images/generations", takingOn, async (c) => answer(c, await readGeneration(c.req.raw, context)));
  app.post("/v1/images/edits", takingOn, async (c) => answer(c, await readEdit(c.req.raw, context)));

  const jobOf = (c: Context): BackgroundJob => {
    const id = c.req.param("id") ?? "";
    const job = jobs.find(id);
    if (!job) throw new ApiError(404, `there is no job "${shown(id)}"; finished jobs are deleted after a while`);
    return job;
  };
  app.post("/v1/jobs", takingOn, async (c) => {
    const job = jobs.start(await readEither(c.req.raw, context));
    return c.json(job.answer(), 202, { Location: `/v1/jobs/${job.id}` });
  });
  app.get("/v1/jobs/:id", (c) => c.json(jobOf(c).answer()));
  app.get("/v1/jobs/:id/events", (c) => eventStream(c, jobOf(c), { heartbeat }));
  app.delete("/v1/jobs/:id", (c) => {
    const job = jobOf(c);
    job.cancel();
    return c.json(job.answer());
  });

  app.get("/v1/models", (c) => c.json({ object: "list", data: models.map((model) => modelAnswer(model, created)) }));
  app.get("/v1/models/:model", (c) => c.json(modelAnswer(modelNamed(models, c.req.param("model")), created)));
  app.get("/healthz", (c) => {
    const { waiting, running } = queue.state();
    return c.json({ status: stopping ? "stopping" : "ok", waiting, running }, stopping ? 503 : 200);
  });
  app.get("/metrics", async (c) => {
    const names = models.map(({ name }) => name);
    const text = metrics.text({ queue: queue.state(), jobs: jobs.counts(), models: names });
    const more = (await options.elsewhere?.metrics().catch(() => "")) ?? ""; // this server's numbers are there anyway
    return c.text(text + more, 200, { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" });
  });
  app.get("/openapi.json", (c) => c.json(document));
  if (options.shareWeights) offerModels(app, models);
  if (options.elsewhere?.queues) {
    app.route(queuesPath, options.elsewhere.queues);
    app.get(`${queuesPath}/`, (c) => c.redirect(queuesPath));
  }
  app.get("/*", studio(options.studio));

  app.notFound(elsewhere(app, (path) => isStudioFile(options.studio, path)));
  app.onError((error) => {
    if (error instanceof HTTPException) return error.getResponse();
    if (apiError(error).status === 500) onFault(error);
    return errorResponse(error);
  });
  return {
    app,
    async drain() {
      stopping = true;
      await queue.idle();
    },
    async dispose() {
      await queue.dispose();
      await room.dispose();
      metrics.dispose();
    },
  };
}

/** The unread rest of a refused body would precede the connection's next request, so the connection is closed. */
function closeAfterLeftBody({ env }: Context): void {
  const { incoming, outgoing } = (env ?? {}) as Partial<HttpBindings>; // absent for a request without a socket
  if (!incoming || incoming.complete) return;
  const hasBody = "content-length" in incoming.headers || "transfer-encoding" in incoming.headers;
  if (hasBody && outgoing && "shouldKeepAlive" in outgoing) outgoing.shouldKeepAlive = false;
}

/**
 * Resolves for one caller per turn of the event loop. Clients that were all told to retry in a second do so at once, and
 * other work should not have to wait for all of them.
 */
function oneByOne(): () => Promise<void> {
  let turns = Promise.resolve();
  return () => (turns = turns.then(() => new Promise((resolve) => setImmediate(resolve))));
}

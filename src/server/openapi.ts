/** The OpenAPI document, built from the schemas that validate requests. */

import { z } from "zod";
import { answerSchemas, type Limits, requestSchemas } from "./schemas.ts";

const json = "application/json";
const stream = "text/event-stream";
const form = "multipart/form-data";

const reference = (name: string) => ({ schema: { $ref: `#/components/schemas/${name}` } });
const answer = (description: string, name: string, type = json) => ({
  description,
  content: { [type]: reference(name) },
});
const text = (description: string, type: string) => ({
  description,
  content: { [type]: { schema: { type: "string" } } },
});

const wrong = answer("The request is invalid; the message says what is wrong.", "Error");
const mistakes = {
  400: wrong,
  403: answer("The host or the page's origin is not allowed.", "Error"),
  404: answer("The model does not exist (model_not_found).", "Error"),
  408: answer("The body arrived too slowly.", "Error"),
  413: answer("The body is too large.", "Error"),
  415: answer("The body has a Content-Encoding other than gzip.", "Error"),
};
const busy = {
  429: {
    ...answer("The queue is full.", "Error"),
    headers: {
      "Retry-After": { description: "Seconds to wait, estimated from the measured rate.", schema: { type: "integer" } },
    },
  },
  503: answer("The server is stopping, or other requests use all the memory for bodies.", "Error"),
};
const images = {
  description: "The images, or server-sent events with stream: true.",
  content: { [json]: reference("Images"), [stream]: reference("ImageEvents") },
};
const id = [{ name: "id", in: "path", required: true, schema: { type: "string" } }];
const seen = { name: "Last-Event-ID", in: "header", required: false, schema: { type: "integer" } };
const body = (...names: [type: string, name: string][]) => ({
  required: true,
  content: Object.fromEntries(names.map(([type, name]) => [type, reference(name)])),
});

const paths = {
  "/v1/images/generations": {
    post: {
      operationId: "generateImages",
      summary: "Generate images of classes",
      requestBody: body([json, "GenerationRequest"]),
      responses: { 200: images, ...mistakes, ...busy },
    },
  },
  "/v1/images/edits": {
    post: {
      operationId: "editImage",
      summary: "Redraw part of an image",
      requestBody: body([form, "EditRequest"]),
      responses: { 200: images, ...mistakes, ...busy },
    },
  },
  "/v1/models": {
    get: {
      operationId: "listModels",
      summary: "List the models and their classes",
      responses: { 200: answer("All models.", "ModelList") },
    },
  },
  "/v1/models/{model}": {
    get: {
      operationId: "getModel",
      summary: "Get a model and its classes",
      parameters: [{ name: "model", in: "path", required: true, schema: { type: "string" } }],
      responses: { 200: answer("The model.", "Model"), 404: answer("No model has this name.", "Error") },
    },
  },
  "/v1/jobs": {
    post: {
      operationId: "startJob",
      summary: "Start a generation (JSON) or an edit (form) in the background",
      requestBody: body([json, "GenerationRequest"], [form, "EditRequest"]),
      responses: { 202: answer("The job. The Location header holds its address.", "Job"), ...mistakes, ...busy },
    },
  },
  "/v1/jobs/{id}": {
    get: {
      operationId: "getJob",
      summary: "Get a job's status, and its images when it is done",
      parameters: id,
      responses: { 200: answer("The job.", "Job"), 404: answer("The job does not exist or was deleted.", "Error") },
    },
    delete: {
      operationId: "cancelJob",
      summary: "Cancel a job; has no effect on a finished job",
      parameters: id,
      responses: { 200: answer("The job.", "Job"), 404: answer("The job does not exist or was deleted.", "Error") },
    },
  },
  "/v1/jobs/{id}/events": {
    get: {
      operationId: "streamJob",
      summary: "Stream a job's events, starting after Last-Event-ID",
      parameters: [...id, seen],
      responses: {
        200: answer("The events.", "JobEvents", stream),
        204: { description: "The client has already seen the last event." },
        404: answer("The job does not exist or was deleted.", "Error"),
      },
    },
  },
  "/healthz": {
    get: {
      operationId: "health",
      summary: "Check whether the server accepts new requests",
      responses: {
        200: answer("The server accepts requests.", "Health"),
        503: answer("The server is stopping.", "Health"),
      },
    },
  },
  "/metrics": {
    get: {
      operationId: "metrics",
      summary: "Get metrics in Prometheus format",
      responses: { 200: text("The metrics.", "text/plain") },
    },
  },
  "/openapi.json": {
    get: { operationId: "openapi", summary: "Get this document", responses: { 200: text("The document.", json) } },
  },
};

interface DocumentOptions {
  version: string;
  limits: Limits;
  /** Whether requests need an API key. */
  withKey?: boolean;
}

export function openApiDocument({ version, limits, withKey = false }: DocumentOptions): Record<string, unknown> {
  const registry = z.registry<{ id: string }>();
  for (const [name, schema] of Object.entries({ ...requestSchemas(limits), ...answerSchemas }))
    registry.add(schema, { id: name });
  const { schemas } = z.toJSONSchema(registry, { io: "input", uri: (name) => `#/components/schemas/${name}` });
  // Under `components`, schemas are identified by their position.
  for (const schema of Object.values(schemas)) {
    delete schema.$schema;
    delete schema.$id;
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "fractalgen",
      version,
      description:
        "Generates images with fractal generative models. Image and model routes are compatible with OpenAI's clients.",
    },
    paths,
    components: { schemas, ...(withKey ? { securitySchemes: { key: { type: "http", scheme: "bearer" } } } : {}) },
    ...(withKey ? { security: [{ key: [] }] } : {}),
  };
}

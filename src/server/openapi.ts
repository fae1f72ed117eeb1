/** The OpenAPI document, made from the schemas that requests are checked with. */

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

const wrong = answer("what is wrong, in one sentence", "Error");
const mistakes = {
  400: wrong,
  403: answer("the host or the page's origin is not allowed", "Error"),
  404: answer("there is no such model (model_not_found)", "Error"),
  408: answer("the body came too slowly", "Error"),
  413: answer("the body is too large", "Error"),
  415: answer("the body has another Content-Encoding than gzip", "Error"),
};
const busy = {
  429: {
    ...answer("the queue is full", "Error"),
    headers: { "Retry-After": { description: "seconds, by the measured rate", schema: { type: "integer" } } },
  },
  503: answer("the server is stopping, or other requests fill the room for bodies", "Error"),
};
const images = {
  description: "the images; with stream: true, events",
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
      summary: "Images of classes",
      requestBody: body([json, "GenerationRequest"]),
      responses: { 200: images, ...mistakes, ...busy },
    },
  },
  "/v1/images/edits": {
    post: {
      operationId: "editImage",
      summary: "Variants of an image, a part of which is drawn anew",
      requestBody: body([form, "EditRequest"]),
      responses: { 200: images, ...mistakes, ...busy },
    },
  },
  "/v1/models": {
    get: {
      operationId: "listModels",
      summary: "Models and their classes",
      responses: { 200: answer("all", "ModelList") },
    },
  },
  "/v1/models/{model}": {
    get: {
      operationId: "getModel",
      summary: "A model and its classes",
      parameters: [{ name: "model", in: "path", required: true, schema: { type: "string" } }],
      responses: { 200: answer("the model", "Model"), 404: answer("there is none of this name", "Error") },
    },
  },
  "/v1/jobs": {
    post: {
      operationId: "startJob",
      summary: "A generation (JSON) or an edit (form) that nobody has to wait for",
      requestBody: body([json, "GenerationRequest"], [form, "EditRequest"]),
      responses: { 202: answer("the job; Location has its address", "Job"), ...mistakes, ...busy },
    },
  },
  "/v1/jobs/{id}": {
    get: {
      operationId: "getJob",
      summary: "Where a job stands, and its images when it is done",
      parameters: id,
      responses: { 200: answer("the job", "Job"), 404: answer("there is none, or it was forgotten", "Error") },
    },
    delete: {
      operationId: "cancelJob",
      summary: "Cancels a job; a finished one stays as it is",
      parameters: id,
      responses: { 200: answer("the job", "Job"), 404: answer("there is none, or it was forgotten", "Error") },
    },
  },
  "/v1/jobs/{id}/events": {
    get: {
      operationId: "streamJob",
      summary: "A job's events as they come, from Last-Event-ID on",
      parameters: [...id, seen],
      responses: {
        200: answer("the events", "JobEvents", stream),
        204: { description: "the last event was seen" },
        404: answer("there is none, or it was forgotten", "Error"),
      },
    },
  },
  "/healthz": {
    get: {
      operationId: "health",
      summary: "Whether new requests are taken",
      responses: { 200: answer("they are", "Health"), 503: answer("the server is stopping", "Health") },
    },
  },
  "/metrics": {
    get: { operationId: "metrics", summary: "For Prometheus", responses: { 200: text("metrics", "text/plain") } },
  },
  "/openapi.json": {
    get: { operationId: "openapi", summary: "This document", responses: { 200: text("the document", json) } },
  },
};

interface DocumentOptions {
  version: string;
  limits: Limits;
  /** Whether requests need a key. */
  withKey?: boolean;
}

export function openApiDocument({ version, limits, withKey = false }: DocumentOptions): Record<string, unknown> {
  const registry = z.registry<{ id: string }>();
  for (const [name, schema] of Object.entries({ ...requestSchemas(limits), ...answerSchemas }))
    registry.add(schema, { id: name });
  const { schemas } = z.toJSONSchema(registry, { io: "input", uri: (name) => `#/components/schemas/${name}` });
  // In a document's components, a schema's place is its name.
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
        "Images from fractal generative models. Images and models have the shape that OpenAI's clients expect.",
    },
    paths,
    components: { schemas, ...(withKey ? { securitySchemes: { key: { type: "http", scheme: "bearer" } } } : {}) },
    ...(withKey ? { security: [{ key: [] }] } : {}),
  };
}

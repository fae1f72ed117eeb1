/** Errors in the format that OpenAI's clients read. Independent of routes. */

import { UserError, worded, type Wording } from "../core/errors.ts";
import { snakeCase } from "../core/names.ts";

interface Details {
  /** The field that caused the error. */
  param?: string;
  /** A machine-readable code. */
  code?: string;
  /** Seconds to wait before a retry. */
  retryAfter?: number;
  headers?: Record<string, string>;
}

export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number;
  readonly details: Details;

  constructor(status: number, message: string, details: Details = {}) {
    super(message);
    this.status = status;
    this.details = details;
  }
}

/** The client disconnected or a job was cancelled, so nobody reads the answer. */
export const cancelled = () => new ApiError(499, "the request was cancelled", { code: "cancelled" });

const type = (status: number): string => {
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
};

export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

/** The name of a setting's field in a request. Classes are given as a prompt, as with OpenAI's clients. */
const fieldOf = (setting: string): string => (setting === "class" ? "prompt" : snakeCase(setting));

/** A client cannot set command-line options or run commands, so hints name only fields. */
export const fieldWording: Wording = { setting: fieldOf, hint: (hint) => hint.do };

/** Converts any error: a `UserError` becomes a 400. Details of internal errors are not disclosed to the client. */
export function apiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof UserError) {
    const { setting } = error;
    return new ApiError(400, worded(error.mistake, fieldWording), { param: setting && fieldOf(setting) });
  }
  return new ApiError(500, "the server failed to process this request; its log has the details", {
    code: "internal_error",
  });
}

export const errorBody = ({ message, status, details: { param, code } }: ApiError): ErrorBody => ({
  error: { message, type: type(status), param: param ?? null, code: code ?? null },
});

export function errorResponse(error: unknown): Response {
  const found = apiError(error);
  const { retryAfter, headers } = found.details;
  return Response.json(errorBody(found), {
    status: found.status,
    headers: { ...headers, ...(retryAfter === undefined ? {} : { "Retry-After": String(retryAfter) }) },
  });
}

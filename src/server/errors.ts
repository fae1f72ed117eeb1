/** What a client did wrong, or has to wait for, in the shape that OpenAI's clients read. Knows no route. */

import { UserError, worded, type Wording } from "../core/errors.ts";
import { snakeCase } from "../core/names.ts";

interface Details {
  /** The field that is wrong. */
  param?: string;
  /** A word for programs. */
  code?: string;
  /** Seconds after which it is worth asking again. */
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

/** The client went away, or a job was cancelled: nobody reads the answer. */
export const cancelled = () => new ApiError(499, "the request was cancelled", { code: "cancelled" });

const type = (status: number): string => {
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
};

export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

/** What a request's field for a setting is called: classes are given as a prompt, as OpenAI's clients do. */
const fieldOf = (setting: string): string => (setting === "class" ? "prompt" : snakeCase(setting));

/** A client cannot give options or run commands, so hints name fields at most. */
export const fieldWording: Wording = { setting: fieldOf, hint: (hint) => hint.do };

/** Any error as one of ours: a user's mistake is a bad request, and what is a fault of the program is not told. */
export function apiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof UserError) {
    const { setting } = error;
    return new ApiError(400, worded(error.mistake, fieldWording), { param: setting && fieldOf(setting) });
  }
  return new ApiError(500, "the server failed on this request; its own output says how", { code: "internal_error" });
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

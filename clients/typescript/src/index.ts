// A typed client of the Atelier REST API. `schema.ts` is generated (make client); here is what types cannot say:
// tokens that are renewed once, refusals that are thrown, keys for what is wanted once, and waiting as long as told.

import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type Schemas = components["schemas"];
export type Refusal = Schemas["Error"];
export type Tokens = { access: string; refresh: string };
export type Api = Client<paths>;

/** What the API said no to, and why: `refusal.error` is stable, `refusal.charged` says whether it cost anything. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly refusal: Partial<Refusal>,
    readonly retryAfterS: number | null,
  ) {
    super(refusal.message ?? `The server answered ${status}.`);
  }
}

export interface Connection {
  /** Every operation, by method and path: `api.GET("/api/v1/users/me")`. */
  api: Api;
  /** Go on as whoever signed in. */
  signIn(tokens: Tokens): void;
  signOut(): void;
}

/** Connect to an installation; `kept` is told of new tokens, and of `null` when the session has ended. */
export function connect(origin: string, kept: (tokens: Tokens | null) => void = () => {}): Connection {
  let tokens: Tokens | null = null;
  let renewal: Promise<void> | null = null;

  const keep = (found: Tokens | null): void => {
    tokens = found && { access: found.access, refresh: found.refresh };
    kept(tokens);
  };

  const send = (request: Request): Promise<Response> => {
    if (tokens) request.headers.set("Authorization", `Bearer ${tokens.access}`);
    return fetch(request);
  };

  // A spent refresh token that comes back ends the session, so all wait for the same renewal.
  const renew = async ({ refresh }: Tokens): Promise<void> => {
    const response = await fetch(`${origin}/api/v1/auth/refresh`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ refresh }),
    });
    if (response.ok) keep((await response.json()) as Tokens);
    else if (response.status === 401) keep(null);
  };

  const api = createClient<paths>({
    baseUrl: origin,
    fetch: async (request) => {
      const again = request.clone();
      const response = await send(request);
      if (response.status !== 401 || !tokens) return response;
      renewal ??= renew(tokens).finally(() => (renewal = null));
      await renewal;
      return tokens ? send(again) : response;
    },
  });
  return { api, signIn: keep, signOut: () => keep(null) };
}

/** The body of an answer. Throws `Refused` with the API's own words. */
export function told<T>(answer: { data?: T; error?: unknown; response: Response }): NonNullable<T> {
  const { data, error, response } = answer;
  if (!response.ok || data === undefined || data === null) {
    const wait = response.headers.get("Retry-After");
    throw new Refused(response.status, (error ?? {}) as Partial<Refusal>, wait === null ? null : Number(wait));
  }
  return data;
}

/** The header of something wanted once: make one for each wish, and send the same one with every try. */
export function wish(): { header: { "Idempotency-Key": string } } {
  return { header: { "Idempotency-Key": crypto.randomUUID() } };
}

/** Upload a photo. */
export async function upload(api: Api, photo: Blob, filename: string): Promise<Schemas["Photo"]> {
  const form = new FormData();
  form.append("file", photo, filename);
  return told(
    await api.POST("/api/v1/photos", { body: { file: "" }, bodySerializer: () => form }),
  );
}

const OPEN: readonly string[] = ["queued", "submitting", "running", "storing"] satisfies Schemas["Job"]["status"][];

/** Wait until a job has ended, looking as often as its answers say; `seen` is told of each look. */
export async function ended(api: Api, id: string, seen: (job: Schemas["Job"]) => void = () => {}): Promise<Schemas["Job"]> {
  for (;;) {
    const answer = await api.GET("/api/v1/generations/{id}", { params: { path: { id } } });
    const job = told(answer);
    seen(job);
    if (!OPEN.includes(job.status)) return job;
    const seconds = Number(answer.response.headers.get("Retry-After") ?? 2);
    await new Promise((done) => setTimeout(done, seconds * 1000));
  }
}

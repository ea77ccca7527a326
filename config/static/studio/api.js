// The REST API as any app in a browser uses it: tokens kept for this tab, one renewal at a time, one key for one wish.

const BASE = "/api/v1/";
const KEPT = "studio.session";
const CHARGED = {
  held: "The credits are held until it is decided.",
  settled: "You were charged.",
  unknown: "We do not know yet whether you were charged: try again, and it will not be done twice.",
};

/** An answer that says no, in the API's own words. */
export class Refused extends Error {
  constructor(status, body) {
    super(body?.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body?.error ?? "";
    this.details = body?.details ?? [];
    this.charged = CHARGED[body?.charged] ?? "";
  }
}

let session = kept();
let renewal = null;

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT));
  } catch {
    return null;
  }
}

export const isSignedIn = () => session !== null;

export function signIn({ access, refresh }) {
  session = { access, refresh };
  sessionStorage.setItem(KEPT, JSON.stringify(session));
}

export function forget() {
  session = null;
  sessionStorage.removeItem(KEPT);
}

/** One call; the JSON of its answer. */
export async function ask(method, path, options) {
  return (await answer(method, path, options)).body;
}

/** One look at something that is under way: its JSON, and after how many seconds to look again. */
export async function look(path) {
  const { body, headers } = await answer("GET", path);
  return [body, Number(headers.get("Retry-After") ?? 2)];
}

async function answer(method, path, { body, key } = {}) {
  let response = await send(method, path, body, key);
  if (response.status === 401 && session) {
    await renew();
    response = await send(method, path, body, key);
  }
  const told = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, told);
  return { body: told, headers: response.headers };
}

async function send(method, path, body, key) {
  const headers = {};
  if (session) headers.Authorization = `Bearer ${session.access}`;
  if (key) headers["Idempotency-Key"] = key;
  const isForm = body instanceof FormData;
  if (body && !isForm) headers["Content-Type"] = "application/json";
  try {
    return await fetch(BASE + path, { method, headers, body: isForm ? body : body && JSON.stringify(body) });
  } catch {
    throw new Error("The server does not answer. Try again in a moment.");
  }
}

/** A spent refresh token ends the session, so all who find their access token too old wait for the same renewal. */
async function renew() {
  renewal ??= (async () => {
    const spent = session.refresh;
    session = { ...session, access: "" };
    const response = await fetch(`${BASE}auth/refresh`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ refresh: spent }),
    });
    const told = await response.json().catch(() => null);
    if (response.ok) return signIn(told);
    if (response.status === 401) forget();
    throw new Refused(response.status, told);
  })().finally(() => { renewal = null; });
  await renewal;
}

/** Something that is wanted once, however often it takes to ask: the same body keeps its key until it is answered. */
export class Wish {
  async make(path, body) {
    const text = path + JSON.stringify(body);
    if (text !== this.text) Object.assign(this, { text, key: fresh() });
    try {
      const made = await ask("POST", path, { body, key: this.key });
      this.text = null;
      return made;
    } catch (error) {
      if (error instanceof Refused && error.status < 500 && error.status !== 409) this.text = null;
      throw error;
    }
  }
}

function fresh() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

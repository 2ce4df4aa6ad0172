/** Talks to the gateway with the key that was pasted. The key stands in one header, never in an address or a log. */

const NAME = "millrace.key";
let signedOut = () => {};

/** Say what is to happen when the gateway does not know the key. */
export function whenSignedOut(act) {
  signedOut = act;
}

/** Return the key, null where nobody has signed in. */
export function key() {
  return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME);
}

/** Keep the key for this tab, or for this browser. */
export function keep(value, remember) {
  forget();
  (remember ? localStorage : sessionStorage).setItem(NAME, value);
}

/** Forget the key everywhere. */
export function forget() {
  sessionStorage.removeItem(NAME);
  localStorage.removeItem(NAME);
}

/** A refusal in the gateway's words (RFC 9457). `status` 0: nothing answered. */
export class Problem extends Error {
  constructor(status, body = {}, retryAfter = null) {
    super(body.detail ?? "The gateway does not answer. Is the network there?");
    this.status = status;
    this.code = body.code ?? "unreachable";
    this.replyCode = body.reply_code ?? null;
    this.errors = body.errors ?? [];
    this.limitBytes = body.limit_bytes ?? null;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 502;
  }

  /** In words for people. */
  get words() {
    const faults = this.errors.map((fault) => `${fault.pointer}: ${fault.detail}`).join("; ");
    const wait = this.retryAfter ? ` Try again in ${this.retryAfter} seconds.` : "";
    const limit = this.limitBytes && `This is larger than the gateway takes: ${Math.floor(this.limitBytes / 1024).toLocaleString()} KiB.`;
    const words = limit || WORDS[this.code] || sentence(faults ? `${this.message} ${faults}` : this.message);
    return words + wait;
  }
}

const WORDS = {
  cancelled: "Stopped.",
  deadline_passed: "No answer came in time.",
  backend_unavailable: "Nobody can answer just now.",
  broker_unavailable: "The log does not answer just now; nothing was asked.",
  invalid_key: "This key is not valid. It may have been revoked.",
};

function sentence(text) {
  const trimmed = text.trim();
  const first = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}

/** Return the problem of a response that is not a success; 401 leads back to the sign-in. */
export async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    body = { detail: `The gateway answered ${response.status}` };
  }
  if (response.status === 401) signedOut();
  return new Problem(response.status, body, response.headers.get("retry-after"));
}

/** Return the gateway's response. Throws Problem for one that is no success, or none. */
export async function call(path, { method = "GET", json, headers = {}, signal, as = key() } = {}) {
  const sent = { authorization: `Bearer ${as}`, ...headers };
  if (json !== undefined) sent["content-type"] = "application/json";
  let response;
  try {
    const body = json === undefined ? undefined : JSON.stringify(json);
    response = await fetch(path, { method, headers: sent, body, signal, cache: "no-store", referrerPolicy: "no-referrer" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0);
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** Return what the gateway says, as JSON. */
export async function ask(path, options) {
  return (await call(path, options)).json();
}

/**
 * Asks a question and reads the answer as it is written. A connection that breaks is taken up again where it ended
 * (`Last-Event-ID`), at whichever gateway answers then: nothing is asked twice.
 */

import { Problem, ask, call } from "./api.js";

const SILENT_MS = 25_000; // the gateway says something every 10 s; two such words missed
const PAUSES_MS = [200, 400, 800, 1_500, 3_000, 5_000, 8_000, 8_000, 8_000, 8_000];
const STOPPED_MS = 3_000; // how long the worker's own word that it stopped is waited for

const nap = (ms) =>
  new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    }
    addEventListener("online", done);
  });

/** Yield the server-sent events of a response. https://html.spec.whatwg.org/multipage/server-sent-events.html */
export async function* eventsOf(response, heard = () => {}) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = {};
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (event.data !== undefined) yield event;
        event = {};
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const name = colon < 0 ? line : line.slice(0, colon);
      const text = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      event[name] = name === "data" && event.data !== undefined ? `${event.data}\n${text}` : text;
    }
  }
}

/** One question on its way. `heard` is told `accepted(ids)`, `text(all)`,
 * `connection(lost)`. */
export class Asking {
  #turn;
  #idempotency = crypto.randomUUID();
  #control = new AbortController();
  #position = "0";
  #stopped = false;
  requestId = null;
  text = "";

  constructor(turn, heard, requestId = null) {
    this.#turn = turn;
    this.heard = heard;
    this.requestId = requestId;
  }

  /** Return the whole answer. Throws Problem, of code `cancelled` for one that was stopped. */
  async answer() {
    for (let failures = 0; ; ) {
      if (this.#stopped) throw stopped();
      const before = this.#position;
      try {
        const final = await this.#attempt();
        if (final) return final;
      } catch (problem) {
        if (this.#stopped || problem.code === "cancelled") throw stopped();
        if (problem.replyCode === "answer_changed") return await this.#whole();
        const silent = problem.name === "AbortError"; // nothing came for too long
        if (!silent && !(problem instanceof Problem && this.#mayTryAgain(problem))) throw problem;
      }
      if (this.#stopped) throw stopped();
      failures = this.#position === before ? failures + 1 : 1;
      if (failures > PAUSES_MS.length) throw new Problem(0);
      this.heard.connection(true);
      await nap(PAUSES_MS[failures - 1]);
    }
  }

  /** Ask the workers to stop writing. */
  async stop() {
    this.#stopped = true;
    if (this.requestId === null) {
      this.#control.abort();
      return;
    }
    setTimeout(() => this.#control.abort(), STOPPED_MS);
    try {
      await call(`/v1/chat/${this.requestId}`, { method: "DELETE" });
    } catch {
      this.#control.abort(); // it is not read any more, and the gateway cancels what nobody reads
    }
  }

  /** A question that was refused is asked again by people only; one that is on the log is come back to. */
  #mayTryAgain(problem) {
    if (problem.ended) return false;
    return problem.status === 0 || (this.requestId !== null && problem.passing);
  }

  async #attempt() {
    this.#control = new AbortController();
    const { signal } = this.#control;
    const response = await (this.requestId === null
      ? call("/v1/chat", { method: "POST", json: { ...this.#turn, stream: true }, headers: { "idempotency-key": this.#idempotency }, signal })
      : call(`/v1/chat/${this.requestId}/events`, { headers: { "last-event-id": this.#position }, signal }));
    if (response.status === 204) return this.#whole();
    let watch = 0;
    const heard = () => {
      clearTimeout(watch);
      watch = setTimeout(() => this.#control.abort(), SILENT_MS);
    };
    heard();
    try {
      for await (const event of eventsOf(response, heard)) {
        this.heard.connection(false);
        const final = this.#take(event);
        if (final) return final;
      }
    } catch (error) {
      if (error instanceof Problem || error.name === "AbortError") throw error;
      throw new Problem(0); // the body broke off
    } finally {
      clearTimeout(watch);
    }
    return null;
  }

  #take(event) {
    const data = JSON.parse(event.data);
    if (event.event === "accepted") {
      this.requestId = data.request_id;
      this.heard.accepted(data);
    } else if (event.event === "delta") {
      this.text += data.text;
      this.#position = event.id;
      this.heard.text(this.text);
    } else if (event.event === "final") {
      return data;
    } else if (event.event === "error") {
      const problem = new Problem(data.status, data);
      problem.ended = true;
      throw problem;
    }
    return null;
  }

  async #whole() {
    const state = await ask(`/v1/chat/${this.requestId}`);
    if (state.state === "finished") return state.answer;
    throw new Problem(502, { ...(state.error ?? {}), detail: state.error?.detail ?? "The answer was lost" });
  }
}

function stopped() {
  return new Problem(410, { code: "cancelled", detail: "Stopped" });
}

/** Adds documents: sent with their progress, then followed until they can be found. */

import { Problem, ask, key, problemOf } from "./api.js";
import { $, el, speak } from "./dom.js";

const POLL_MS = 700;
const LATEST_POLL_MS = 5_000;
const LARGE = 1_000_000; // bytes
const WORDS = {
  accepted: "Accepted, being read…",
  normalised: "Read, being indexed…",
  searchable: "Ready to be asked about",
  complete: "Ready to be asked about",
  not_a_document: "Nothing in it that can be kept as a document",
  dead_lettered: "Could not be read",
};
const READY = ["searchable", "complete"];
const ENDED = [...READY, "not_a_document", "dead_lettered"];

/** Add files, each on its own. */
export function addFiles(files) {
  for (const file of files) void new Upload(file).run();
}

class Upload {
  #file;
  #progress = el("progress", { max: 1, value: 0 });
  #state = el("span", { className: "state" }, "Waiting…");
  #button = el("button", { type: "button", className: "quiet" });
  #element;
  #idempotency = crypto.randomUUID();

  constructor(file) {
    this.#file = file;
    this.#progress.setAttribute("aria-label", `Sending ${file.name}`);
    this.#element = el("li", {}, el("span", { className: "name" }, file.name), this.#progress, this.#state, this.#button);
    $("uploads").hidden = false;
    $("upload-list").append(this.#element);
  }

  async run() {
    this.#element.className = "";
    this.#progress.hidden = false;
    try {
      const accepted = await this.#send();
      // From here on the log has it: going away stops nothing.
      this.#offer("Hide", () => this.#remove());
      await this.#follow(accepted.event_id);
    } catch (problem) {
      if (problem.name === "AbortError") return this.#remove();
      if (!(problem instanceof Problem)) throw problem;
      this.#end("failed", problem.words);
      this.#offer("Try again", () => this.run());
    }
  }

  #send() {
    const form = new FormData();
    form.append("file", this.#file);
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/documents");
    request.setRequestHeader("authorization", `Bearer ${key()}`);
    request.setRequestHeader("idempotency-key", this.#idempotency); // a try after a lost answer is the same event
    this.#say("Sending…");
    this.#offer("Cancel", () => request.abort());
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) this.#progress.value = event.loaded / event.total;
    });
    return new Promise((resolve, reject) => {
      request.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
      request.addEventListener("error", () => reject(brokenOff(this.#file)));
      request.addEventListener("load", async () => {
        if (request.status === 202) return resolve(JSON.parse(request.responseText));
        const retry = request.getResponseHeader("retry-after");
        const headers = retry ? { "retry-after": retry } : {};
        return reject(await problemOf(new Response(request.responseText, { status: request.status, headers })));
      });
      request.send(form);
    });
  }

  async #follow(eventId) {
    this.#progress.removeAttribute("value");
    this.#progress.setAttribute("aria-label", `Reading ${this.#file.name}`);
    let pause = POLL_MS;
    for (;;) {
      const event = await this.#event(eventId);
      if (event) {
        this.#say(WORDS[event.state] ?? event.state);
        if (ENDED.includes(event.state)) return this.#done(event);
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
      if (!this.#element.isConnected) return undefined;
      pause = Math.min(LATEST_POLL_MS, pause * 1.1);
    }
  }

  /** Return the event, null while nobody can tell: the ledger may hear of it later than this page. */
  async #event(eventId) {
    try {
      return await ask(`/v1/events/${eventId}`);
    } catch (problem) {
      if (problem instanceof Problem && (problem.status === 404 || problem.passing)) return null;
      throw problem;
    }
  }

  #done(event) {
    const why = event.dead_letters[0]?.detail ?? event.stages.find((stage) => stage.stage === "normalised")?.detail;
    const ready = READY.includes(event.state);
    this.#end(ready ? "ready" : "failed", ready || !why ? WORDS[event.state] : `${WORDS[event.state]}: ${why}`);
    if (ready) $("empty").hidden = true;
  }

  #end(name, words) {
    this.#element.className = name;
    this.#progress.hidden = true;
    this.#say(words);
    this.#offer("Hide", () => this.#remove());
    speak(`${this.#file.name}: ${words}`);
  }

  #say(words) {
    this.#state.textContent = words;
  }

  #offer(label, act) {
    this.#button.textContent = label;
    this.#button.setAttribute("aria-label", `${label} ${this.#file.name}`);
    this.#button.onclick = act;
  }

  #remove() {
    const had = this.#element.contains(document.activeElement);
    this.#element.remove();
    $("uploads").hidden = !$("upload-list").childElementCount;
    if (had) $("question").focus();
  }
}

/** A gateway that finds a file too large hangs up while it is being sent; a browser does not say more than that. */
function brokenOff(file) {
  return file.size < LARGE ? new Problem(0) : new Problem(0, { detail: "The connection broke. Is the file larger than the gateway takes?" });
}

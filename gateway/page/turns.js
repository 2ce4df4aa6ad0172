/** The turns of a conversation on the screen: what was asked, the answer, its sources, and what can be done with it. */

import { Problem, call } from "./api.js";
import { $, el, pictured, speak } from "./dom.js";
import { rendered } from "./markdown.js";
import { openSource } from "./source.js";

const REDRAW_MS = 60;
const SENTENCE = /[^]*?[.!?:…]["')\]]*(?:\s|$)|[^]*?\n\n/y;

/** A question with its answer. `again(question)` is called for another try. */
export class Turn {
  #answer = el("div", { className: "answer", "aria-busy": "true" });
  #foot = el("div", { className: "foot" });
  #drawing = 0;
  #text = "";
  #spoken = 0;
  #again;

  constructor(question, again) {
    this.question = question;
    this.#again = again;
    this.element = el(
      "article",
      { className: "turn", "aria-label": "Question and answer" },
      el("div", { className: "question" }, el("h2", { className: "visually-hidden" }, "You asked"), el("p", {}, question)),
      el("div", { className: "reply" }, el("h2", { className: "visually-hidden" }, "Answer"), this.#answer, this.#foot),
    );
    this.#answer.append(el("p", { className: "waiting" }, el("span", { className: "visually-hidden" }, "Looking for an answer…"), el("i"), el("i"), el("i")));
  }

  /** Show the text so far; a screen reader is told whole sentences. */
  write(text) {
    this.#text = text;
    this.#drawing ||= setTimeout(() => {
      this.#drawing = 0;
      this.#draw();
    }, REDRAW_MS);
    this.#speakSentences();
  }

  /** Show the whole answer with its sources. */
  finish(answer, { say = true } = {}) {
    this.#end();
    this.#text = answer.answer;
    if (say) this.#speakRest(answer.citations.length);
    const buttons = new Map();
    this.#draw((number) => this.#cite(answer.citations, number, buttons));
    this.#foot.append(...sourcesOf(answer.citations), this.#actions(answer, answer.request_id));
    const notes = notesOn(answer);
    if (notes) this.#foot.prepend(el("p", { className: "hint" }, notes));
  }

  /** Show that no answer came, below what came of it. */
  fail(problem, requestId, { say = true } = {}) {
    this.#end();
    if (this.#text) this.#draw();
    else this.#answer.replaceChildren();
    const words = problem instanceof Problem ? problem.words : "Something went wrong on this page.";
    if (say) speak(words);
    this.#foot.append(el("p", { className: problem.code === "cancelled" ? "hint" : "error" }, words), this.#actions(null, requestId));
  }

  /** What was written of an answer that did not end. */
  set text(text) {
    this.#text = text;
  }

  #end() {
    clearTimeout(this.#drawing);
    this.#drawing = -1; // nothing is drawn after the end
    this.#answer.removeAttribute("aria-busy");
    this.#foot.replaceChildren();
  }

  #draw(cite) {
    this.#answer.replaceChildren(rendered(this.#text, cite));
  }

  #cite(citations, number, seen) {
    const all = citations.filter((each) => each.number === number);
    if (!all.length) return null;
    const nth = seen.get(number) ?? 0;
    seen.set(number, nth + 1);
    const citation = all[Math.min(nth, all.length - 1)];
    const label = `Source ${number}: ${citation.title || "untitled"}`;
    return el("button", { type: "button", className: "cite", "aria-label": label, title: citation.quote, onclick: (event) => openSource(citation, event.currentTarget) }, String(number));
  }

  #speakSentences() {
    SENTENCE.lastIndex = this.#spoken;
    for (let match; (match = SENTENCE.exec(this.#text)) && SENTENCE.lastIndex < this.#text.length; ) {
      this.#spoken = SENTENCE.lastIndex;
      speak(match[0]);
    }
  }

  #speakRest(sources) {
    speak(this.#text.slice(this.#spoken));
    speak(sources ? `End of the answer. Sources: ${sources}.` : "End of the answer.");
  }

  #actions(answer, requestId) {
    const made = el("div", { className: "actions", role: "group", "aria-label": "This answer" });
    if (answer && requestId) made.append(...ratings(requestId, answer.rating ?? null));
    if (answer) made.append(pictured("copy", "Copy the answer", (event) => copy(answer.answer, event.currentTarget)));
    made.append(pictured("again", "Ask again", () => this.#again(this)));
    return made;
  }
}

function notesOn(answer) {
  const notes = [];
  if (answer.abstained) notes.push("The sources do not hold an answer.");
  if (answer.finish_reason === "length") notes.push("The answer ended because it was as long as it may be.");
  if (answer.shortened) notes.push("The question was too long for the model: its middle was left out.");
  if (answer.degraded) notes.push("Somebody else than the usual model has answered, or the answer broke off.");
  return notes.join(" ");
}

function sourcesOf(citations) {
  if (!citations.length) return [];
  const items = citations.map((citation) =>
    el("li", {}, el("button", { type: "button", onclick: (event) => openSource(citation, event.currentTarget) },
      el("span", { className: "number", "aria-hidden": "true" }, String(citation.number)),
      el("span", {}, el("strong", {}, citation.title || "Untitled"), el("q", {}, shortened(citation.quote))))));
  return [el("h3", { className: "visually-hidden" }, "Sources"), el("ul", { className: "sources" }, ...items)];
}

function shortened(text) {
  const points = Array.from(text.replace(/\s+/g, " ").slice(0, 400));
  return points.length > 140 ? `${points.slice(0, 139).join("")}…` : points.join("");
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.title = "Copied";
    speak("Copied.");
  } catch {
    speak("The browser does not let this page copy.");
  }
}

/** Return two buttons of which at most one is pressed, with a line for those who say more. */
function ratings(requestId, before) {
  const said = el("span", { className: "hint", role: "status" });
  const comment = el("input", { type: "text", maxLength: 2000, placeholder: "What was wrong? (optional)", "aria-label": "What was wrong? Optional" });
  const form = el("form", { className: "comment", hidden: true }, comment, el("button", { className: "secondary" }, "Send"));
  const up = pictured("up", "Good answer", () => rate("up"));
  const down = pictured("down", "Bad answer", () => rate("down"));
  const press = (rating) => {
    up.setAttribute("aria-pressed", String(rating === "up"));
    down.setAttribute("aria-pressed", String(rating === "down"));
  };
  async function rate(rating, words) {
    press(rating);
    try {
      await call("/v1/feedback", { method: "POST", json: { request_id: requestId, rating, ...(words ? { comment: words } : {}) } });
      before = rating;
      said.textContent = "Thank you.";
      form.hidden = rating === "up" || Boolean(words);
    } catch (problem) {
      press(before);
      said.textContent = problem instanceof Problem ? problem.words : "That did not work.";
    }
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!comment.value.trim()) return;
    down.focus();
    rate("down", comment.value.trim());
  });
  press(before);
  return [up, down, said, form];
}

/** Keep the newest text in sight for whoever is at the end; who has scrolled up reads on undisturbed. */
export function keepAtEnd() {
  const thread = $("thread");
  let atEnd = true;
  thread.addEventListener("scroll", () => {
    atEnd = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 80;
  });
  const grown = new ResizeObserver(() => {
    if (atEnd) thread.scrollTop = thread.scrollHeight;
  });
  for (const each of [thread, $("turns")]) grown.observe(each);
  return () => {
    atEnd = true;
    thread.scrollTop = thread.scrollHeight;
  };
}

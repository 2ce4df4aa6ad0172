/** The list of conversations, its search, and what can be done with the open one. */

import { Problem, ask, call } from "./api.js";
import { $, askUser, el } from "./dom.js";

const PAGE = 30;
const SEARCH_MS = 250;
const MESSAGES = 200;
const FOLLOW_MS = [0, 800, 2_000, 5_000];

/** `open(id, title)` shows a conversation, `closed()` is told that the open one is gone. */
export class Conversations {
  #open;
  #closed;
  #current = null;
  #next = null;
  #asked = 0;
  #timer = 0;

  constructor({ open, closed }) {
    this.#open = open;
    this.#closed = closed;
    $("search").addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.load(), SEARCH_MS);
    });
    $("archived").addEventListener("change", () => this.load());
    $("list-more").addEventListener("click", () => this.load(this.#next));
    for (const button of document.querySelectorAll("[data-export]")) {
      button.addEventListener("click", () => this.#guarded(() => this.#export(button.dataset.export)));
    }
    $("rename").addEventListener("click", () => this.#guarded(() => this.#rename()));
    $("archive").addEventListener("click", () => this.#guarded(() => this.#archive()));
    $("delete").addEventListener("click", () => this.#guarded(() => this.#delete()));
  }

  /** Read the list from its beginning, or on from a cursor. A gateway without one shows none. */
  async load(cursor = null) {
    const mine = (this.#asked += 1);
    const wanted = new URLSearchParams({ limit: PAGE, archived: $("archived").checked });
    const query = $("search").value.trim();
    if (query) wanted.set("query", query);
    if (cursor) wanted.set("cursor", cursor);
    try {
      const page = await ask(`/v1/conversations?${wanted}`);
      if (mine === this.#asked) this.#show(page, cursor !== null, query);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (mine !== this.#asked) return;
      $("history").hidden = problem.status === 404;
      $("search-status").textContent = problem.status === 404 ? "" : problem.words;
    }
  }

  /** Read the list, again while it does not hold the open conversation: the archive hears of an answer a moment later. */
  async follow() {
    for (const pause of FOLLOW_MS) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      await this.load();
      if ($("history").hidden || $("search").value || $("list").querySelector("[aria-current]")) return;
    }
  }

  /** Mark `id` as the open one. */
  set current(id) {
    this.#current = id;
    $("more").hidden = id === null || $("history").hidden;
    for (const button of $("list").querySelectorAll("button")) {
      if (button.dataset.id === id) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  get current() {
    return this.#current;
  }

  /** Return all messages of a conversation, oldest first. Throws Problem. */
  async messages(id) {
    const found = [];
    let cursor = null;
    do {
      const wanted = new URLSearchParams({ limit: MESSAGES, ...(cursor ? { cursor } : {}) });
      const page = await ask(`/v1/conversations/${encodeURIComponent(id)}/messages?${wanted}`);
      found.push(...page.messages);
      cursor = page.next;
    } while (cursor);
    return found;
  }

  #show(page, further, query) {
    $("history").hidden = false;
    this.#next = page.next;
    $("list-more").hidden = !page.next;
    const items = page.conversations.map((each) => this.#item(each));
    if (further) $("list").append(...items);
    else $("list").replaceChildren(...items);
    const none = query ? "Nothing found." : "No conversations yet.";
    $("search-status").textContent = $("list").childElementCount ? (query ? `${$("list").childElementCount}${page.next ? "+" : ""} found` : "") : none;
    this.current = this.#current;
  }

  #item(each) {
    const when = new Date(each.updated_at);
    const day = when.toLocaleDateString(undefined, { day: "numeric", month: "short" });
    const button = el("button", { type: "button", onclick: () => this.#open(each.conversation_id, each.title) },
      el("span", { className: "name" }, each.title || "Untitled"),
      each.snippet ? el("span", { className: "snippet" }, each.snippet) : null,
      el("time", { dateTime: each.updated_at }, day));
    button.dataset.id = each.conversation_id;
    return el("li", {}, button);
  }

  async #guarded(act) {
    $("menu").hidePopover();
    try {
      await act();
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      await askUser({ title: "That did not work", text: problem.words, yes: "Close" });
    }
  }

  get #path() {
    return `/v1/conversations/${this.#current}`;
  }

  async #export(format) {
    const response = await call(`${this.#path}/export?format=${format}`);
    const address = URL.createObjectURL(await response.blob());
    const ending = { markdown: "md", json: "json", csv: "csv" }[format];
    el("a", { href: address, download: `conversation-${this.#current.slice(0, 8)}.${ending}` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  async #rename() {
    const title = await askUser({ title: "Rename this conversation", value: $("title").textContent, yes: "Rename" });
    if (!title) return;
    const item = await ask(this.#path, { method: "PATCH", json: { title } });
    $("title").textContent = item.title;
    await this.load();
  }

  async #archive() {
    await ask(this.#path, { method: "PATCH", json: { archived: true } });
    this.#closed();
    await this.load();
  }

  async #delete() {
    const sure = await askUser({ title: "Delete this conversation?", text: "Its questions and answers are erased everywhere. This cannot be undone.", yes: "Delete" });
    if (sure === null) return;
    const gone = this.#current;
    await call(this.#path, { method: "DELETE" });
    this.#closed();
    $("list").querySelector(`[data-id="${CSS.escape(gone)}"]`)?.closest("li").remove();
  }
}

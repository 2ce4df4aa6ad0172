/** The chat page: who is signed in, which conversation is open, and the question that is being answered. */

import { Problem, ask, forget, whenSignedOut } from "./api.js";
import { Conversations } from "./conversations.js";
import { $ } from "./dom.js";
import { letIn, showSignIn } from "./entry.js";
import { closeSource, coverRest } from "./source.js";
import { Asking } from "./stream.js";
import { Turn, keepAtEnd } from "./turns.js";
import { addFiles } from "./uploads.js";

const RUNNING = "millrace.running";
const narrow = matchMedia("(max-width: 760px)");
let asking = null;
let begun = false;
let opened = 0;
const toEnd = keepAtEnd();
const conversations = new Conversations({ open: (id, title) => openConversation(id, title), closed: () => newConversation() });

// ---- coming and going

function signOut() {
  asking?.stop();
  forget();
  sessionStorage.removeItem(RUNNING);
  clearTurns();
  conversations.current = null;
  history.replaceState(null, "", location.pathname);
  $("list").replaceChildren();
  $("upload-list").replaceChildren();
  $("uploads").hidden = true;
  showSignIn();
}

async function begin(documents) {
  $("sign-in").hidden = true;
  $("app").hidden = false;
  $("empty").hidden = documents;
  begun = true;
  const listed = conversations.load();
  const wanted = hashed();
  if (wanted) await openConversation(wanted, "", { quietly: true });
  else newConversation();
  await listed;
}

/** The question whose answer is being written, also where the page has gone elsewhere since. */
function running() {
  return JSON.parse(sessionStorage.getItem(RUNNING) ?? "null");
}

// ---- which conversation is open

function hashed() {
  return /^#c\/([0-9a-f-]{36})$/.exec(location.hash)?.[1] ?? null;
}

function clearTurns() {
  $("turns").replaceChildren();
  $("spoken").replaceChildren();
  $("connection").textContent = "";
  $("welcome").hidden = false;
  closeSource({ focus: false });
}

function newConversation() {
  opened += 1;
  leave();
  clearTurns();
  conversations.current = null;
  $("title").textContent = "New conversation";
  document.title = "Millrace";
  if (location.hash) history.pushState(null, "", location.pathname);
  openSide(false);
  $("question").focus();
}

/** The answer that is being written is left to itself: the gateway goes on with it, and the archive will have it. */
function leave() {
  asking?.heard.leave();
  asking = null;
  busy(false);
}

async function openConversation(id, title, { quietly = false } = {}) {
  const mine = (opened += 1);
  leave();
  clearTurns();
  $("welcome").hidden = true;
  titled(title || "Conversation");
  conversations.current = id;
  if (hashed() !== id) history.pushState(null, "", `#c/${id}`);
  openSide(false);
  let messages = [];
  try {
    messages = await conversations.messages(id);
    if (!title && mine === opened) titled((await ask(`/v1/conversations/${id}`)).title || "Conversation");
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (mine === opened && problem.status !== 404) $("connection").textContent = problem.words;
  }
  if (mine !== opened) return;
  showMessages(messages);
  const left = running();
  if (left?.conversation === id && !messages.some((each) => each.request_id === left.request)) {
    void take(new Turn(left.question, askAgain), left.request);
  } else if (!messages.length) {
    $("welcome").hidden = false;
  }
  (quietly ? $("question") : $("title")).focus();
}

function titled(title) {
  $("title").textContent = title;
  document.title = `${title} · Millrace`;
}

function showMessages(messages) {
  let turn = null;
  for (const each of messages) {
    if (each.role === "user") {
      turn = new Turn(each.content, askAgain);
      $("turns").append(turn.element);
    } else if (each.role === "assistant" && turn) {
      showAnswer(turn, each);
      turn = null;
    }
  }
  toEnd();
}

function showAnswer(turn, message) {
  if (message.error) {
    turn.text = message.content;
    turn.fail(new Problem(502, message.error), message.request_id, { say: false });
  } else {
    turn.finish({ answer: message.content, citations: message.citations, request_id: message.request_id, rating: message.rating }, { say: false });
  }
}

// ---- asking

function busy(is) {
  const focused = document.activeElement;
  $("send").hidden = is;
  $("stop").hidden = !is;
  // A hidden button loses the focus to nowhere.
  if (focused === $("send") || focused === $("stop")) (is ? $("stop") : $("question")).focus();
}

function send(event) {
  event?.preventDefault();
  const question = $("question").value.trim();
  if (!question || asking) return;
  $("question").value = "";
  fit();
  void take(new Turn(question, askAgain));
}

function askAgain(turn) {
  if (asking) return;
  if (turn.failed) turn.element.remove();
  $("question").focus();
  void take(new Turn(turn.question, askAgain));
}

/** Have a question answered below the others; with `request`, one that was asked before the page was loaded again. */
async function take(turn, request = null) {
  $("welcome").hidden = true;
  $("spoken").replaceChildren();
  $("turns").append(turn.element);
  toEnd();
  busy(true);
  if (!conversations.current) titled(turn.question.length > 80 ? `${turn.question.slice(0, 79)}…` : turn.question);
  const mine = new Asking(turnOf(turn), hearing(turn), request);
  asking = mine;
  try {
    turn.finish(await mine.answer(), { say: asking === mine });
  } catch (problem) {
    turn.failed = true;
    turn.fail(problem, mine.requestId, { say: asking === mine });
    if (!(problem instanceof Problem)) throw problem;
  } finally {
    if (running()?.request === mine.requestId) sessionStorage.removeItem(RUNNING);
    if (asking === mine) over();
  }
}

function over() {
  asking = null;
  busy(false);
  $("connection").textContent = "";
  void conversations.follow();
}

function turnOf(turn) {
  return { message: turn.question, ...(conversations.current ? { conversation_id: conversations.current } : {}) };
}

function hearing(turn) {
  let here = true;
  return {
    leave: () => (here = false),
    accepted({ request_id: request, conversation_id: conversation }) {
      if (!here || !conversation) return;
      sessionStorage.setItem(RUNNING, JSON.stringify({ request, conversation, question: turn.question }));
      if (conversations.current === conversation) return;
      conversations.current = conversation;
      history.replaceState(null, "", `#c/${conversation}`);
    },
    text: (text) => here && turn.write(text),
    connection(lost) {
      if (here) $("connection").textContent = lost ? "The connection is lost; going on with the answer when it is back…" : "";
    },
  };
}

// ---- the rest of the page

function fit() {
  const box = $("question");
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 220)}px`;
}

function openSide(is) {
  if (!narrow.matches) is = true;
  document.body.classList.toggle("side-open", is && narrow.matches);
  $("open-side").setAttribute("aria-expanded", String(is));
  $("side").inert = !is;
  if (is && narrow.matches) $("new").focus();
}

function pick() {
  $("files").click();
}

function wire() {
  $("sign-out").addEventListener("click", signOut);
  $("ask").addEventListener("submit", send);
  $("question").addEventListener("input", fit);
  $("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  });
  $("stop").addEventListener("click", () => asking?.stop());
  $("new").addEventListener("click", newConversation);
  $("open-side").addEventListener("click", () => openSide($("side").inert));
  $("close-source").addEventListener("click", closeSource);
  $("attach").addEventListener("click", pick);
  $("welcome-upload").addEventListener("click", pick);
  $("files").addEventListener("change", () => {
    addFiles([...$("files").files]);
    $("files").value = "";
  });
  wireDrops();
  wireWindow();
}

function wireDrops() {
  const holds = (event) => event.dataTransfer?.types.includes("Files") && !$("app").hidden;
  document.addEventListener("dragover", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    document.body.classList.remove("dropping");
    addFiles([...event.dataTransfer.files]);
  });
}

function wireWindow() {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || $("asking").open || $("menu").matches(":popover-open")) return;
    if (!$("source").hidden) closeSource();
    else if (document.body.classList.contains("side-open")) {
      openSide(false);
      $("open-side").focus();
    }
  });
  $("main").addEventListener("click", () => document.body.classList.contains("side-open") && openSide(false));
  narrow.addEventListener("change", () => {
    openSide(false);
    coverRest();
  });
  addEventListener("popstate", () => {
    if (!begun || $("app").hidden) return;
    const id = hashed();
    if (id && id !== conversations.current) void openConversation(id, "");
    else if (!id) newConversation();
  });
}

whenSignedOut(() => {
  if ($("app").hidden) return;
  leave();
  forget();
  showSignIn("Your key is no longer valid. Sign in again.");
});
wire();
openSide(false);
void letIn(begin);

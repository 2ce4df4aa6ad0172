/** Shows a cited document beside the answer, scrolled to the quoted place, which is marked. */

import { Problem, ask } from "./api.js";
import { $, el } from "./dom.js";

const AROUND = 20_000; // code units shown on either side of the quote; more only when asked for
const WRAPPED_FROM = 50; // code units of a line
const WRAPPED = /(?<=[^\n]{50})\n(?=\p{L})/gu; // a line that was broken because it was long, not to end anything
const MOST_FLOWING = 200_000; // code units whose lines are looked at
let back = null;
let shown = 0;

/** Return the UTF-16 index of the `points`th code point of `text`: offsets of the API count code points. */
export function unitIndex(text, points) {
  let unit = 0;
  for (let left = points; left > 0 && unit < text.length; left -= 1) {
    unit += text.codePointAt(unit) > 0xffff ? 2 : 1;
  }
  return unit;
}

/** Return start and end (UTF-16) of the quote in `text`, null where it no longer stands there. */
export function placeOf(text, citation) {
  const start = unitIndex(text, citation.start);
  const end = start + unitIndex(text.slice(start), citation.end - citation.start);
  if (text.slice(start, end) === citation.quote) return { start, end, moved: false };
  const found = text.indexOf(citation.quote);
  return found < 0 ? null : { start: found, end: found + citation.quote.length, moved: true };
}

/** Return a link to an address with the address itself in sight; text where it is no web address. */
export function linkTo(address) {
  let url = null;
  try {
    url = new URL(address);
  } catch {
    // no address at all: shown as it is
  }
  if (url === null || !["http:", "https:"].includes(url.protocol)) return el("span", { className: "address" }, address);
  return el("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow", className: "address" }, url.href);
}

/** Open the source of a citation. `from`: what the focus returns to. */
export async function openSource(citation, from) {
  const mine = (shown += 1);
  back = from;
  const panel = $("source");
  $("source-title").textContent = citation.title || "Source";
  $("source-facts").replaceChildren();
  $("source-text").replaceChildren(el("p", { className: "hint" }, "Opening…"));
  panel.hidden = false;
  document.body.classList.add("with-source");
  coverRest();
  $("source-title").focus();
  try {
    const document_ = await ask(`/v1/documents/${citation.document_id}`);
    if (mine === shown) show(document_, citation);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    const words = problem.status === 404 ? "This document has been deleted. It said:" : problem.words;
    if (mine === shown) $("source-text").replaceChildren(el("p", { role: "alert" }, words), el("blockquote", {}, citation.quote));
  }
}

/** Close the panel; the focus goes back to the citation. */
export function closeSource({ focus = true } = {}) {
  if ($("source").hidden) return;
  shown += 1;
  $("source").hidden = true;
  document.body.classList.remove("with-source");
  coverRest();
  if (focus && back?.isConnected) back.focus();
}

/** Where the panel covers the page, nothing below it can be reached. */
export function coverRest() {
  const covers = !$("source").hidden && matchMedia("(max-width: 760px)").matches;
  for (const each of [$("main"), document.querySelector(".bar")]) each.inert = covers;
}

function show(found, citation) {
  const facts = [];
  if (found.url) facts.push(el("p", {}, linkTo(found.url)));
  const place = placeOf(found.text, citation);
  if (place === null) facts.push(el("p", { className: "notice" }, "The document has changed since: these words are no longer in it."));
  else if (found.version !== citation.version) facts.push(el("p", { className: "hint" }, "The document has changed since; the quoted words are still in it."));
  $("source-facts").replaceChildren(...facts);
  if (place === null) $("source-text").replaceChildren(el("blockquote", {}, citation.quote), cutText(found.text, 0, AROUND));
  else showPlace(found.text, place);
}

function showPlace(text, { start, end }) {
  const from = text.length > 3 * AROUND ? Math.max(0, start - AROUND) : 0;
  const to = text.length > 3 * AROUND ? Math.min(text.length, end + AROUND) : text.length;
  const mark = el("mark", { id: "quoted" }, ...flowing(text, start, end));
  const whole = from > 0 || to < text.length;
  $("source-text").replaceChildren(
    whole ? more(text, start, end) : "",
    el("div", { className: "text" }, ...flowing(text, from, start), mark, ...flowing(text, end, to)),
  );
  mark.scrollIntoView({ block: "center" });
}

/**
 * Return a part of `text` as nodes in which the ends of wrapped lines are shown as spaces; the text itself stays what
 * it is.
 */
function flowing(text, from, to) {
  if (to - from > MOST_FLOWING) return [text.slice(from, to)];
  const before = Math.max(0, from - WRAPPED_FROM);
  const nodes = [];
  let at = from;
  for (const { index } of text.slice(before, to).matchAll(WRAPPED)) {
    const end = before + index;
    if (end < from) continue;
    nodes.push(text.slice(at, end), el("span", { className: "soft" }, "\n"));
    at = end + 1;
  }
  return [...nodes, text.slice(at, to)];
}

function more(text, start, end) {
  const onclick = () => {
    const mark = el("mark", { id: "quoted" }, text.slice(start, end));
    $("source-text").replaceChildren(el("div", { className: "text" }, text.slice(0, start), mark, text.slice(end)));
    mark.scrollIntoView({ block: "center" });
    $("source-text").focus();
  };
  return el("p", { className: "hint" }, "This is a part of a long document. ", el("button", { type: "button", className: "quiet", onclick }, "Show all of it"));
}

function cutText(text, from, to) {
  return el("div", { className: "text" }, text.slice(from, to));
}

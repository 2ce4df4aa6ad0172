/**
 * Shows what a model wrote: a subset of Markdown, built from elements and text nodes.
 *
 * Markup in it stays text. Links and pictures become their label and their address in words: what a document has
 * talked a model into saying can lead nobody anywhere, and fetches nothing.
 */

import { el } from "./dom.js";

const DEEPEST = 6; // lists and quotes inside each other; deeper ones stay text
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.+?)\s*#*$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])\s+(.*)$/;
const QUOTE = /^ {0,3}> ?/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ROW = /^\s*\|(.+)\|\s*$/;
const DIVIDER = /^\s*\|(?:\s*:?-+:?\s*\|)+\s*$/;
const INLINE =
  /\\([\\`*_[\]()#!>-])|(`+)([^`]|[^`][^]*?[^`])\2(?!`)|\*\*(?=\S)([^*]+?)\*\*|\*(?=\S)([^*\n]+?)\*|(?<!\w)__(?=\S)([^_\n]+?)__(?!\w)|(?<!\w)_(?=\S)([^_\n]+?)_(?!\w)|!?\[([^\]\n]{0,500})\]\(<?([^\s()<>]{1,2000})>?(?:\s+"[^"\n]*")?\)|\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]/g;

/** Return `text` as a fragment. `cite(number)` returns the element of a citation, null where there is none. */
export function rendered(text, cite = () => null) {
  const made = document.createDocumentFragment();
  made.append(...blocks(text.split("\n"), cite, 0));
  return made;
}

function blocks(lines, cite, depth) {
  const made = [];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at];
    const next = (end) => lines.slice(at, (at = end));
    let match;
    if (!line.trim()) {
      at += 1;
    } else if ((match = FENCE.exec(line))) {
      made.push(code(next(endOfFence(lines, at, match[1])), match[1]));
    } else if ((match = HEADING.exec(line))) {
      made.push(el(`h${Math.min(6, match[1].length + 2)}`, {}, ...inline(match[2], cite)));
      at += 1;
    } else if (RULE.test(line)) {
      made.push(el("hr"));
      at += 1;
    } else if (depth < DEEPEST && QUOTE.test(line)) {
      const inner = next(until(lines, at, (each) => !QUOTE.test(each))).map((each) => each.replace(QUOTE, ""));
      made.push(el("blockquote", {}, ...blocks(inner, cite, depth + 1)));
    } else if (depth < DEEPEST && ITEM.test(line)) {
      made.push(list(next(endOfList(lines, at)), cite, depth));
    } else if (ROW.test(line) && DIVIDER.test(lines[at + 1] ?? "")) {
      made.push(table(next(until(lines, at, (each) => !ROW.test(each))), cite));
    } else {
      made.push(paragraph(next(Math.max(at + 1, until(lines, at, begins))), cite));
    }
  }
  return made;
}

const begins = (line, first, next) =>
  !line.trim() || (!first && ((ROW.test(line) && DIVIDER.test(next)) || FENCE.test(line) || HEADING.test(line) || QUOTE.test(line) || ITEM.test(line) || RULE.test(line)));

function until(lines, from, ends) {
  let at = from;
  while (at < lines.length && !ends(lines[at], at === from, lines[at + 1] ?? "")) at += 1;
  return at;
}

function endOfFence(lines, from, fence) {
  let at = from + 1;
  while (at < lines.length && !lines[at].trimStart().startsWith(fence)) at += 1;
  return Math.min(lines.length, at + 1);
}

function code(lines, fence) {
  const closed = lines.length > 1 && lines.at(-1).trimStart().startsWith(fence);
  const text = lines.slice(1, closed ? -1 : undefined).join("\n");
  return el("pre", { tabIndex: 0, role: "region", "aria-label": "Code" }, el("code", {}, text));
}

function endOfList(lines, from) {
  const first = ITEM.exec(lines[from]);
  const ordered = /\d/.test(first[2]);
  let at = from + 1;
  for (; at < lines.length; at += 1) {
    const item = ITEM.exec(lines[at]);
    if (item && item[1].length > first[1].length + 1) continue; // an item of a list inside
    if (item ? /\d/.test(item[2]) !== ordered : !/^\s{2,}\S/.test(lines[at]) && lines[at].trim()) break;
    if (!lines[at].trim() && !/^(\s{2,}\S| {0,3}([-*+]|\d{1,9}[.)])\s)/.test(lines[at + 1] ?? "")) break;
  }
  return at;
}

function list(lines, cite, depth) {
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && !(items.length && item[1].length > items[0].outer + 1)) items.push({ outer: item[1].length, indent: line.length - item[3].length, lines: [item[3]], mark: item[2] });
    else items.at(-1).lines.push(line.slice(Math.min(items.at(-1).indent, /^\s*/.exec(line)[0].length)));
  }
  const ordered = /\d/.test(items[0].mark);
  const made = el(ordered ? "ol" : "ul", ordered ? { start: Number.parseInt(items[0].mark, 10) } : {});
  for (const item of items) {
    const inner = blocks(item.lines, cite, depth + 1);
    // A one-line item is a line, not a paragraph with its space around it.
    const [first, ...rest] = inner;
    made.append(el("li", {}, ...(first?.tagName === "P" ? [...first.childNodes, ...rest] : inner)));
  }
  return made;
}

function table(lines, cite) {
  const cells = (line) => ROW.exec(line)[1].split("|").map((cell) => cell.trim());
  const [head, , ...rows] = lines;
  const row = (name, line) => el("tr", {}, ...cells(line).map((cell) => el(name, {}, ...inline(cell, cite))));
  const body = rows.map((line) => row("td", line));
  return el("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": "Table" },
    el("table", {}, el("thead", {}, row("th", head)), el("tbody", {}, ...body)));
}

function paragraph(lines, cite) {
  const made = el("p");
  lines.forEach((line, at) => {
    if (at) made.append(/( {2}|\\)$/.test(lines[at - 1]) ? el("br") : "\n");
    made.append(...inline(line.replace(/( {2,}|\\)$/, ""), cite));
  });
  return made;
}

function inline(text, cite, depth = 0) {
  const made = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    const piece = spanOf(match, cite, depth);
    if (piece === null) continue;
    made.push(text.slice(from, match.index), ...piece);
    from = match.index + match[0].length;
  }
  made.push(text.slice(from));
  return made.filter((piece) => piece !== "");
}

function spanOf(match, cite, depth) {
  const [, escaped, , quoted, strong, starred, doubly, lined, label, address, numbers] = match;
  const inner = (part) => (depth < DEEPEST ? inline(part, cite, depth + 1) : [part]);
  if (escaped !== undefined) return [escaped];
  if (quoted !== undefined) return [el("code", {}, quoted.trim())];
  if (strong !== undefined || doubly !== undefined) return [el("strong", {}, ...inner(strong ?? doubly))];
  if (starred !== undefined || lined !== undefined) return [el("em", {}, ...inner(starred ?? lined))];
  if (address !== undefined) return [label, label ? " " : "", el("span", { className: "address", title: "An address in the answer; it is not a link" }, `(${address})`)];
  const cited = numbers.split(/[,;]/).map((number) => cite(Number(number)));
  return cited.every((each) => each !== null) ? cited : null;
}

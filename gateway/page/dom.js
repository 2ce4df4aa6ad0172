/** Makes elements. Text only ever becomes text nodes: nothing here, or on the page, parses markup. */

export const $ = (id) => document.getElementById(id);

/**
 * Return an element with properties, attributes (names with a hyphen, and `role`) and children.
 * Children that are null or false are left out.
 */
export function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const SHAPES = {
  again: "M4 12a8 8 0 1 0 2.500-5.800M4 4v4.500h4.500",
  copy: "M9 9h10v11H9zM5 15V4h10",
  up: "M7 11v9H4v-9zM7 12l4-8c2 0 2.500 1.500 2 4h5a2 2 0 0 1 2 2.400l-1.300 6.600a3 3 0 0 1-3 2.500H7",
  down: "M7 13V4H4v9zM7 12l4 8c2 0 2.500-1.500 2-4h5a2 2 0 0 0 2-2.400l-1.300-6.600a3 3 0 0 0-3-2.500H7",
};
const SVG = "http://www.w3.org/2000/svg";

/** Return a picture for a button that has a name of its own. */
export function picture(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

/** Return a button with a picture, named `label`. */
export function pictured(name, label, onclick) {
  return el("button", { type: "button", className: "icon small", "aria-label": label, title: label, onclick }, picture(name));
}

/** Tell a screen reader something, a sentence at a time, without moving the focus. */
export function speak(text) {
  if (text.trim()) $("spoken").append(el("p", {}, text));
}

/**
 * Ask in a dialog; return the text that was entered, "" where only yes was asked for, null for no.
 * The focus goes back to where it was.
 */
export function askUser({ title, text = "", value = null, yes }) {
  const dialog = $("asking");
  const input = $("asking-value");
  $("asking-title").textContent = title;
  $("asking-text").textContent = text;
  $("asking-yes").textContent = yes;
  input.hidden = value === null;
  input.required = value !== null;
  input.value = value ?? "";
  dialog.returnValue = "";
  $("asking-no").onclick = () => dialog.close("");
  dialog.showModal();
  (value === null ? $("asking-yes") : input).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? input.value.trim() : null), { once: true });
  });
}

/** Signing in with an API key, and what is shown to those who have not. */

import { Problem, ask, forget, keep, key } from "./api.js";
import { closeSource } from "./source.js";
import { $ } from "./dom.js";

/** Show the sign-in, with words on why. */
export function showSignIn(words = "") {
  closeSource({ focus: false });
  $("app").hidden = true;
  $("sign-in").hidden = false;
  $("sign-in-error").textContent = words;
  $("key").focus();
}

/** Let people in: at once those whose key this browser has. `begin(documents)` is told whether there are documents. */
export async function letIn(begin) {
  $("sign-in-form").addEventListener("submit", (event) => signIn(event, begin));
  if (!key()) return showSignIn();
  try {
    await begin(await documentsThere());
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) forget();
    showSignIn(problem.words);
  }
}

async function signIn(event, begin) {
  event.preventDefault();
  const given = $("key").value.trim();
  const button = event.submitter ?? $("sign-in-form").querySelector("button");
  $("sign-in-error").textContent = "";
  button.disabled = true;
  try {
    // A header holds printable ASCII only; what is pasted may be anything.
    if (!/^[\x21-\x7e]+$/.test(given)) throw new Problem(401, { code: "invalid_key" });
    const documents = await documentsThere(given);
    keep(given, $("remember").checked);
    $("key").value = "";
    await begin(documents);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    $("sign-in-error").textContent = problem.words;
    $("key").focus();
  } finally {
    button.disabled = false;
  }
}

async function documentsThere(as = key()) {
  const { documents } = await ask("/v1/documents?limit=1", { as });
  return documents.length > 0;
}

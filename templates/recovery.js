// Recovering the log: the one-time link, and the signature for going on.

import { post, refusalOf, show, whyUnable } from "./ceremony.js";
import { checkChallenge, shownText, sign } from "./signing.js";

const find = (id) => document.getElementById(id);
const button = find("recover");
const message = find("message");

async function open() {
  const token = location.hash.slice(1);
  // The token never leaves the browser but in the body of one request.
  history.replaceState(null, "", location.pathname);
  try {
    const { continue: next } = await post("/recovery", { token });
    location.assign(next);
  } catch (error) {
    show(message, refusalOf(error, "open the link"), { tone: "bad" });
  }
}

async function recover() {
  button.disabled = true;
  try {
    // What the page shows is what is signed: the challenge is computed from it.
    const options = JSON.parse(find("main").dataset.options);
    const prepared = { statement: shownText(find("canonical")), challenge: options.challenge, request_options: options };
    await checkChallenge(prepared);
    show(message, "Use your key now: touch it, or follow the browser’s dialog.");
    const credential = await sign(options);
    show(message, "Signed. The gate is checking the signature…");
    const { continue: next } = await post("/recovery/signatures", { credential });
    location.assign(next);
  } catch (error) {
    show(message, refusalOf(error, "sign"), { tone: "bad" });
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

if (location.hash.length > 1) {
  open();
} else if (button) {
  const why = whyUnable();
  find("unable").hidden = !why;
  find("unable").textContent = why ?? "";
  button.disabled = Boolean(why);
  button.addEventListener("click", recover);
} else if (message) {
  show(message, "This page needs the whole link, with what stands behind the #. Open it again as it was given to you.", { tone: "bad" });
}

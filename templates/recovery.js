// Recovering the log: the one-time link, and the signature for going on.

import { post, show } from "./ceremony.js";
import { canSign, checkChallenge, showRefusal, shownText, sign } from "./signing.js";

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
    showRefusal(message, error, "open the link");
  }
}

async function recover() {
  button.disabled = true;
  try {
    // What the page shows is what is signed: the challenge is computed from it.
    const options = JSON.parse(find("main").dataset.options);
    const prepared = { statement: shownText(find("canonical")), challenge: options.challenge, request_options: options };
    await checkChallenge(prepared);
    const credential = await sign(message, options);
    const { continue: next } = await post("/recovery/signatures", { credential });
    location.assign(next);
  } catch (error) {
    showRefusal(message, error, "sign");
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

if (location.hash.length > 1) {
  open();
} else if (button) {
  button.disabled = !canSign(find("unable"));
  button.addEventListener("click", recover);
} else if (message) {
  show(message, "This page needs the whole link, with what stands behind the #. Open it again as it was given to you.", { tone: "bad" });
}

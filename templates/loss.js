// Reporting a lost key, signed with another one.

import { post } from "./ceremony.js";
import { canSign, showRefusal, signStatement } from "./signing.js";

const page = document.getElementById("main");
const button = document.getElementById("sign-loss");
const message = document.getElementById("message");

/** Nothing is signed but the loss that stands on the page. */
const isShown = ({ predicate }) =>
  predicate.report.credential === page.dataset.credential && predicate.report.since === page.dataset.since;

async function report() {
  button.disabled = true;
  const address = `/keys/losses/${page.dataset.ceremony}`;
  try {
    const { signed } = await signStatement(message, `${address}/statements`, {}, isShown);
    const { continue: next } = await post(`${address}/signatures`, signed);
    location.assign(next);
  } catch (error) {
    showRefusal(message, error, "report it", page.dataset.signIn);
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

if (button) {
  button.disabled = !canSign(document.getElementById("unable"));
  button.addEventListener("click", report);
}

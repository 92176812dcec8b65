// Endorsing the key of somebody else.

import { post } from "./ceremony.js";
import { canSign, digestOf, showRefusal, shownText, signStatement } from "./signing.js";

const find = (id) => document.getElementById(id);
const page = find("main");
const button = find("endorse");
const message = find("message");

/** Whether the statement is about the enrolment whose record this page shows, and nothing else. */
async function isShown({ subject }) {
  const digest = await digestOf(new TextEncoder().encode(shownText(find("canonical"))));
  return (
    digest === page.dataset.digest &&
    subject.length === 1 &&
    subject[0].name === page.dataset.credential &&
    subject[0].digest.sha256 === digest
  );
}

async function endorse() {
  button.disabled = true;
  const address = `/keys/${page.dataset.credential}`;
  try {
    const { signed } = await signStatement(message, `${address}/statements`, {}, isShown);
    const { continue: next } = await post(`${address}/endorsements`, signed);
    location.assign(next);
  } catch (error) {
    showRefusal(message, error, "endorse", page.dataset.signIn);
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

if (button) {
  button.disabled = !canSign(find("unable"));
  button.addEventListener("click", endorse);
}

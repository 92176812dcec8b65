// Endorsing the key of somebody else.

import { post, refusalOf, show, whyUnable } from "./ceremony.js";
import { checkChallenge, differs, digestOf, shownText, sign } from "./signing.js";

const find = (id) => document.getElementById(id);
const page = find("main");
const button = find("endorse");
const message = find("message");

/** Refuses to sign anything but the enrolment whose record this page shows. */
async function checkBeforeSigning(prepared) {
  const options = await checkChallenge(prepared);
  const digest = await digestOf(new TextEncoder().encode(shownText(find("canonical"))));
  const { predicate, subject } = JSON.parse(prepared.statement);
  const same =
    digest === page.dataset.digest &&
    subject.length === 1 &&
    subject[0].name === page.dataset.credential &&
    subject[0].digest.sha256 === digest &&
    predicate.audience === location.origin;
  if (!same) {
    throw differs();
  }
  return options;
}

async function endorse() {
  button.disabled = true;
  const address = `/keys/${page.dataset.credential}`;
  try {
    show(message, "Preparing what you sign…");
    const prepared = await post(`${address}/statements`, {});
    const options = await checkBeforeSigning(prepared);
    show(message, "Use your key now: touch it, or follow the browser’s dialog.");
    const credential = await sign(options);
    show(message, "Signed. The gate is checking the signature…");
    const { continue: next } = await post(`${address}/endorsements`, { nonce: prepared.nonce, credential });
    location.assign(next);
  } catch (error) {
    const signIn = error.sessionEnded ? page.dataset.signIn : null;
    show(message, refusalOf(error, "endorse"), { tone: "bad", signIn });
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

if (button) {
  const why = whyUnable();
  find("unable").hidden = !why;
  find("unable").textContent = why ?? "";
  button.disabled = Boolean(why);
  button.addEventListener("click", endorse);
}

// Signing for a glass that somebody else broke.

import { post, refusalOf, show, whyUnable } from "./ceremony.js";
import { checkChallenge, differs, sign } from "./signing.js";

const page = document.getElementById("main");

/** Refuses to sign anything but the words that stand in the form. */
async function checkBeforeSigning(prepared, entry, explanation) {
  const options = await checkChallenge(prepared);
  const signed = JSON.parse(prepared.statement).predicate;
  const same =
    signed.entry === entry && signed.explanation === explanation && signed.audience === location.origin;
  if (!same) {
    throw differs();
  }
  return options;
}

async function review(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button");
  const message = form.querySelector(".message");
  const entry = Number(form.dataset.entry);
  const explanation = form.elements.explanation.value.trim();
  button.disabled = true;
  try {
    show(message, "Preparing what you sign…");
    const prepared = await post(`/exceptions/${entry}/statements`, { explanation });
    const options = await checkBeforeSigning(prepared, entry, explanation);
    show(message, "Use your key now: touch it, or follow the browser’s dialog.");
    const credential = await sign(options);
    show(message, "Signed. The gate is checking the signature…");
    await post(`/exceptions/${entry}/reviews`, { nonce: prepared.nonce, credential });
    location.reload();
  } catch (error) {
    const signIn = error.sessionEnded ? page.dataset.signIn : null;
    show(message, refusalOf(error, "sign for it"), { tone: "bad", signIn });
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

const why = whyUnable();
const unable = document.getElementById("unable");
if (unable) {
  unable.hidden = !why;
  unable.textContent = why ?? "";
}
for (const form of document.querySelectorAll("form.review")) {
  form.querySelector("button").disabled = Boolean(why);
  form.addEventListener("submit", review);
}

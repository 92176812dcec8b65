// Signing for a glass that somebody else broke.

import { post } from "./ceremony.js";
import { canSign, showRefusal, signStatement } from "./signing.js";

const page = document.getElementById("main");

async function review(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button");
  const message = form.querySelector(".message");
  const entry = Number(form.dataset.entry);
  const explanation = form.elements.explanation.value.trim();
  button.disabled = true;
  try {
    // Nothing is signed but the words that stand in the form.
    const isShown = ({ predicate }) => predicate.entry === entry && predicate.explanation === explanation;
    const { signed } = await signStatement(message, `/exceptions/${entry}/statements`, { explanation }, isShown);
    await post(`/exceptions/${entry}/reviews`, signed);
    location.reload();
  } catch (error) {
    showRefusal(message, error, "sign for it", page.dataset.signIn);
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

const unable = document.getElementById("unable");
for (const form of document.querySelectorAll("form.review")) {
  form.querySelector("button").disabled = !canSign(unable);
  form.addEventListener("submit", review);
}

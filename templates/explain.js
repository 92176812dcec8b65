// Signing an explanation of a change that no approval explains.

import { post } from "./ceremony.js";
import { canSign, showRefusal, signStatement } from "./signing.js";

const page = document.getElementById("main");

async function explain(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button");
  const message = form.querySelector(".message");
  const entry = Number(form.dataset.entry);
  const explanation = form.elements.explanation.value.trim();
  button.disabled = true;
  try {
    // Nothing is signed but the explanation that stands in the form.
    const isShown = ({ predicate }) => predicate.entry === entry && predicate.explanation === explanation;
    const { signed } = await signStatement(message, `/drift/${entry}/statements`, { explanation }, isShown);
    await post(`/drift/${entry}/explanations`, signed);
    location.reload();
  } catch (error) {
    showRefusal(message, error, "sign an explanation", page.dataset.signIn);
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

const unable = document.getElementById("unable");
for (const form of document.querySelectorAll("form.explain")) {
  form.querySelector("button").disabled = !canSign(unable);
  form.addEventListener("submit", explain);
}

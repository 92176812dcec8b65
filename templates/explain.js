// Signing an explanation: of a change without approval, or of a glass that somebody else broke.

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
  const place = `${form.getAttribute("action")}/${entry}`;
  button.disabled = true;
  try {
    // Nothing is signed but the words that stand in the form.
    const isShown = ({ predicate }) => predicate.entry === entry && predicate.explanation === explanation;
    const { signed } = await signStatement(message, `${place}/statements`, { explanation }, isShown);
    await post(`${place}/${form.closest("[data-signed]").dataset.signed}`, signed);
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

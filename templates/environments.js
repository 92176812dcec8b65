// Freezing and lifting, each by a signature.

import { post } from "./ceremony.js";
import { canSign, showRefusal, signStatement } from "./signing.js";

const page = document.getElementById("main");
const HOUR = 60 * 60 * 1000;
const TYPES = {
  begin: "urn:countersign:predicate:freeze:v1",
  lift: "urn:countersign:predicate:freeze-lift:v1",
};

/** A value with the members of its objects in one order, as text. */
function ordered(value) {
  if (value === null || typeof value !== "object") {
    return JSON.stringify(value);
  }
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${ordered(value[name])}`).join()}}`;
}

/** Whether the statement makes the change that the form says. */
const isShown = (change) => ({ predicateType, predicate }) =>
  predicateType === TYPES[change.kind] && ordered(predicate.change) === ordered(change);

function beginning(form) {
  const { environment } = form.dataset;
  const requesters = JSON.parse(form.elements.whose.value);
  const scope = environment ? { environment, requesters } : { requesters };
  const change = { kind: "begin", scope, reason: form.elements.reason.value.trim() };
  const hours = Number(form.elements.hours.value);
  if (hours) {
    // Whole seconds, as the gate writes them.
    change.until = new Date(Date.now() + hours * HOUR).toISOString().replace(/\.\d+Z$/, "Z");
  }
  return change;
}

function lifting(form) {
  const { freeze, scope } = form.dataset;
  return { kind: "lift", freeze, scope: JSON.parse(scope), reason: form.elements.reason.value.trim() };
}

async function change(event, wanted, done) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button");
  const message = form.querySelector(".message");
  button.disabled = true;
  try {
    const change = wanted(form);
    const { signed } = await signStatement(message, "/environments/statements", { change }, isShown(change));
    await post("/environments/freezes", signed);
    location.assign(`/environments?done=${done}`);
  } catch (error) {
    showRefusal(message, error, done === "frozen" ? "freeze it" : "lift it", page.dataset.signIn);
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

const unable = document.getElementById("unable");
const kinds = [["form.freeze", beginning, "frozen"], ["form.lift", lifting, "lifted"]];
for (const [selector, wanted, done] of kinds) {
  for (const form of document.querySelectorAll(selector)) {
    form.querySelector("button").disabled = !canSign(unable);
    form.addEventListener("submit", (event) => change(event, wanted, done));
  }
}

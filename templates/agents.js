// Issuing a credential for an agent.

import { post, refusalOf, show, whyUnable } from "./ceremony.js";
import { checkChallenge, differs, digestOf, sign } from "./signing.js";

const find = (id) => document.getElementById(id);
const page = find("main");
const form = find("issue");
const button = find("issue-button");
const message = find("message");
const DAY = 24 * 60 * 60 * 1000;

/** Refuses to sign anything but what was written into the form. */
async function checkBeforeSigning(prepared, wanted) {
  const options = await checkChallenge(prepared);
  const { grant, audience, issued_at: issued } = JSON.parse(prepared.statement).predicate;
  const same =
    grant.agent === wanted.agent.trim() &&
    grant.environment === wanted.environment &&
    Date.parse(grant.valid_until) - Date.parse(issued) === wanted.days * DAY &&
    grant.secret_digest === (await digestOf(new TextEncoder().encode(prepared.secret))) &&
    audience === location.origin;
  if (!same) {
    throw differs();
  }
  return options;
}

async function issue(event) {
  event.preventDefault();
  button.disabled = true;
  const wanted = {
    agent: find("agent").value,
    environment: find("environment").value,
    days: Number(find("days").value),
  };
  try {
    show(message, "Preparing what you sign…");
    const prepared = await post("/agents/statements", wanted);
    const options = await checkBeforeSigning(prepared, wanted);
    show(message, "Use your key now: touch it, or follow the browser’s dialog.");
    const credential = await sign(options);
    show(message, "Signed. The gate is checking the signature…");
    const { index } = await post("/agents/credentials", { nonce: prepared.nonce, credential });
    find("secret").textContent = `csa_${index}_${prepared.secret}`;
    find("result").hidden = false;
    show(message, "The credential is issued.", { tone: "good" });
  } catch (error) {
    const signIn = error.sessionEnded ? page.dataset.signIn : null;
    show(message, refusalOf(error, "issue a credential"), { tone: "bad", signIn });
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

if (form) {
  const why = whyUnable();
  find("unable").hidden = !why;
  find("unable").textContent = why ?? "";
  button.disabled = Boolean(why);
  form.addEventListener("submit", issue);
}

// Issuing a credential for an agent.

import { post, show } from "./ceremony.js";
import { canSign, digestOf, showRefusal, signStatement } from "./signing.js";

const find = (id) => document.getElementById(id);
const page = find("main");
const form = find("issue");
const button = find("issue-button");
const message = find("message");
const DAY = 24 * 60 * 60 * 1000;

/** Whether the statement says what was written into the form, and nothing else. */
const isShown = (wanted) => async ({ predicate }, prepared) => {
  const { grant, issued_at: issued } = predicate;
  return (
    grant.agent === wanted.agent.trim() &&
    grant.environment === wanted.environment &&
    Date.parse(grant.valid_until) - Date.parse(issued) === wanted.days * DAY &&
    grant.secret_digest === (await digestOf(new TextEncoder().encode(prepared.secret)))
  );
};

async function issue(event) {
  event.preventDefault();
  button.disabled = true;
  const wanted = {
    agent: find("agent").value,
    environment: find("environment").value,
    days: Number(find("days").value),
  };
  try {
    const { prepared, signed } = await signStatement(message, "/agents/statements", wanted, isShown(wanted));
    const { index } = await post("/agents/credentials", signed);
    find("secret").textContent = `csa_${index}_${prepared.secret}`;
    find("result").hidden = false;
    show(message, "The credential is issued.", { tone: "good" });
  } catch (error) {
    showRefusal(message, error, "issue a credential", page.dataset.signIn);
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

if (form) {
  button.disabled = !canSign(find("unable"));
  form.addEventListener("submit", issue);
}

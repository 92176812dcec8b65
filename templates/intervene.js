// Signing what becomes of a rollout: it goes on, goes back, is looked at again, or stays.

import { post } from "./ceremony.js";
import { canSign, showRefusal, signStatement } from "./signing.js";

const find = (id) => document.getElementById(id);
const page = () => document.querySelector("main[data-approval]");
const buttons = () => document.querySelectorAll("#intervene button[data-act]");

let signing = false;

/** Whether a person is busy with it, so that the page is left as it is. */
export const isIntervening = () =>
  signing || Boolean(find("intervene-reason")?.value) || document.activeElement?.id === "intervene-reason";

/** Whether the statement is this act on the rollout on this page. */
const isShown = (act, reason) => ({ predicate, subject }) =>
  predicate.act === act &&
  (predicate.reason ?? "") === reason &&
  predicate.steps_done === Number(find("intervene").dataset.stepsDone) &&
  subject.some((entry) => entry.digest.sha256 === page().dataset.digest);

function allow(allowed) {
  for (const button of buttons()) {
    button.disabled = !allowed;
  }
}

/** Enables the buttons where they can work, and says beforehand where they cannot. */
export function prepareIntervening() {
  if (find("intervene")) {
    allow(canSign(find("intervene-unable")));
  }
}

async function intervene(act) {
  if (signing) {
    return;
  }
  signing = true;
  allow(false);
  const message = find("intervene-message");
  const address = `/approvals/${page().dataset.approval}/interventions`;
  const reason = find("intervene-reason").value.trim();
  try {
    const wanted = reason ? { act, reason } : { act };
    const { signed } = await signStatement(message, `${address}/statements`, wanted, isShown(act, reason));
    await post(address, signed);
    // Where the rollout was over the page follows it again.
    location.reload();
  } catch (error) {
    showRefusal(message, error, "intervene", page().dataset.signIn);
    signing = false;
    prepareIntervening();
    find("intervention").focus({ preventScroll: true });
  }
}

document.addEventListener("click", (event) => {
  const act = event.target.closest?.("#intervene button[data-act]")?.dataset.act;
  if (act) {
    intervene(act);
  }
});

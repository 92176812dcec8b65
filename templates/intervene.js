// Signing what becomes of a rollout: it goes on, goes back, is looked at again, or stays.

import { post, refusalOf, show, whyUnable } from "./ceremony.js";
import { checkChallenge, differs, sign } from "./signing.js";

const find = (id) => document.getElementById(id);
const page = () => document.querySelector("main[data-approval]");
const buttons = () => document.querySelectorAll("#intervene button[data-act]");

let signing = false;

/** Whether a person is busy with it, so that the page is left as it is. */
export const isIntervening = () =>
  signing || Boolean(find("intervene-reason")?.value) || document.activeElement?.id === "intervene-reason";

/** Refuses to sign anything but this act on the rollout on this page. */
async function checkBeforeSigning(prepared, act, reason) {
  const options = await checkChallenge(prepared);
  const { predicate, subject } = JSON.parse(prepared.statement);
  const same =
    predicate.act === act &&
    (predicate.reason ?? "") === reason &&
    predicate.steps_done === Number(find("intervene").dataset.stepsDone) &&
    subject.some((entry) => entry.digest.sha256 === page().dataset.digest) &&
    predicate.audience === location.origin;
  if (!same) {
    throw differs();
  }
  return options;
}

function allow(allowed) {
  for (const button of buttons()) {
    button.disabled = !allowed;
  }
}

/** Enables the buttons where they can work, and says beforehand where they cannot. */
export function prepareIntervening() {
  if (!find("intervene")) {
    return;
  }
  const why = whyUnable();
  find("intervene-unable").hidden = !why;
  find("intervene-unable").textContent = why ?? "";
  allow(!why);
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
    show(message, "Preparing what you sign…");
    const prepared = await post(`${address}/statements`, reason ? { act, reason } : { act });
    const options = await checkBeforeSigning(prepared, act, reason);
    show(message, "Use your key now: touch it, or follow the browser’s dialog.");
    const credential = await sign(options);
    show(message, "Signed. The gate is checking the signature…");
    await post(address, { nonce: prepared.nonce, credential });
    // Where the rollout was over the page follows it again.
    location.reload();
  } catch (error) {
    const signIn = error.sessionEnded ? page().dataset.signIn : null;
    show(message, refusalOf(error, "intervene"), { tone: "bad", signIn });
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

// The page of a batch: one signature on all of its deployments, and staying up to date.

import { post } from "./ceremony.js";
import { canSign, digestOf, showRefusal, shownText, signStatement } from "./signing.js";

const PAUSE = 3_000;

const find = (id) => document.getElementById(id);
const page = find("main");
const members = Array.from(document.querySelectorAll("article.member"));
const address = `/approvals/${page.dataset.batch}/batch`;

let signing = false;

/** Whether the statement lists exactly the deployments on this page, each of them whole, and no other. */
const isShown = (decision, reason) => async ({ predicate, subject }, prepared) => {
  const shown = members.map((member) => shownText(member.querySelector("pre.canonical")));
  const digests = await Promise.all(shown.map((text) => digestOf(new TextEncoder().encode(text))));
  return (
    prepared.statement.includes(`"deployments":[${shown.join(",")}]`) &&
    predicate.deployments.length === members.length &&
    members.every(
      (member, place) =>
        predicate.deployments[place].approval === member.dataset.approval &&
        digests[place] === member.dataset.digest &&
        subject.some((entry) => entry.name === member.dataset.approval && entry.digest.sha256 === digests[place]),
    ) &&
    predicate.decision === decision &&
    (predicate.reason ?? "") === reason
  );
};

function allowSigning(allowed) {
  for (const id of ["approve", "reject"]) {
    find(id).disabled = !allowed;
  }
}

/** Enables the buttons where they can work, and says beforehand where they cannot. */
function prepareSigning() {
  if (find("sign")) {
    allowSigning(canSign(find("unable")));
  }
}

async function decide(decision) {
  if (signing) {
    return;
  }
  signing = true;
  allowSigning(false);
  const message = find("message");
  const reason = decision === "approve" ? "" : find("reason").value.trim();
  const approvals = members.map((member) => member.dataset.approval);
  try {
    const wanted = reason ? { decision, approvals, reason } : { decision, approvals };
    const { signed } = await signStatement(message, `${address}/statements`, wanted, isShown(decision, reason));
    await post(`${address}/decisions`, signed);
    find("reason").value = "";
    location.reload();
  } catch (error) {
    showRefusal(message, error, decision, page.dataset.signIn);
    signing = false;
    prepareSigning();
    find(decision).focus({ preventScroll: true });
  }
}

const isBusy = () => signing || Boolean(find("reason")?.value) || document.activeElement?.id === "reason";

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Asks again and again whether a member came or changed: a batch fills within a minute or two. */
async function follow() {
  for (;;) {
    await pause(PAUSE);
    const response = await fetch(`${address}/status`, { credentials: "same-origin", redirect: "error" }).catch(() => null);
    if (response?.status === 401) {
      sessionEnded();
      return;
    }
    const state = response?.ok ? (await response.json()).state : page.dataset.state;
    if (state !== page.dataset.state) {
      if (!isBusy()) {
        location.reload();
        return;
      }
      find("out-of-date").hidden = false;
    }
  }
}

function sessionEnded() {
  const link = document.createElement("a");
  link.href = page.dataset.signIn;
  link.textContent = "Sign in again";
  find("out-of-date").replaceChildren("Your session ended, so this page no longer follows what happens. ", link);
  find("out-of-date").hidden = false;
}

document.addEventListener("click", (event) => {
  const id = event.target.closest?.("button")?.id;
  if (id === "approve" || id === "reject") {
    decide(id);
  } else if (id === "refresh") {
    location.reload();
  }
});

prepareSigning();
follow();

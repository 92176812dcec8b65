// The page of a batch: one signature on all of its deployments, and staying up to date.

import { post, refusalOf, show, whyUnable } from "./ceremony.js";
import { checkChallenge, differs, digestOf, shownText, sign } from "./signing.js";

const PAUSE = 3_000;

const find = (id) => document.getElementById(id);
const page = find("main");
const members = Array.from(document.querySelectorAll("article.member"));
const address = `/approvals/${page.dataset.batch}/batch`;

let signing = false;

/**
 * Refuses to sign anything but what this page shows: the challenge must be the digest of the statement, and
 * the statement must list exactly the deployments on this page, each of them whole, and no other.
 */
async function checkBeforeSigning(prepared, decision, reason) {
  const options = await checkChallenge(prepared);
  const shown = members.map((member) => shownText(member.querySelector("pre.canonical")));
  const digests = await Promise.all(shown.map((text) => digestOf(new TextEncoder().encode(text))));
  const { predicate, subject } = JSON.parse(prepared.statement);
  const same =
    prepared.statement.includes(`"deployments":[${shown.join(",")}]`) &&
    predicate.deployments.length === members.length &&
    members.every(
      (member, place) =>
        predicate.deployments[place].approval === member.dataset.approval &&
        digests[place] === member.dataset.digest &&
        subject.some((entry) => entry.name === member.dataset.approval && entry.digest.sha256 === digests[place]),
    ) &&
    predicate.decision === decision &&
    (predicate.reason ?? "") === reason &&
    predicate.audience === location.origin;
  if (!same) {
    throw differs();
  }
  return options;
}

function allowSigning(allowed) {
  for (const id of ["approve", "reject"]) {
    find(id).disabled = !allowed;
  }
}

/** Enables the buttons where they can work, and says beforehand where they cannot. */
function prepareSigning() {
  if (!find("sign")) {
    return;
  }
  const why = whyUnable();
  find("unable").hidden = !why;
  find("unable").textContent = why ?? "";
  allowSigning(!why);
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
    show(message, "Preparing what you sign…");
    const request = reason ? { decision, approvals, reason } : { decision, approvals };
    const prepared = await post(`${address}/statements`, request);
    const options = await checkBeforeSigning(prepared, decision, reason);
    show(message, "Use your key now: touch it, or follow the browser’s dialog.");
    const credential = await sign(options);
    show(message, "Signed. The gate is checking the signature…");
    await post(`${address}/decisions`, { nonce: prepared.nonce, credential });
    find("reason").value = "";
    location.reload();
  } catch (error) {
    const signIn = error.sessionEnded ? page.dataset.signIn : null;
    show(message, refusalOf(error, decision), { tone: "bad", signIn });
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

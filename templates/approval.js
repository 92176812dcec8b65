// The page of one approval: signing a decision, and staying up to date.

import { post, show } from "./ceremony.js";
import { isIntervening, prepareIntervening } from "./intervene.js";
import { canSign, digestOf, showRefusal, shownText, signStatement } from "./signing.js";

const WAIT_SECONDS = 25;
const LONGEST_PAUSE = 30_000;
const CLOCK_TICK = 20_000;

/** What a person can sign: what they can do again if it fails, and what they have done then. */
const DOING = {
  approve: "approve",
  reject: "reject",
  withdraw: "take it back",
  break_glass: "break the glass",
};
const DONE = {
  approve: "You approved it.",
  reject: "You rejected it.",
  withdraw: "You took your signature back.",
  break_glass: "You broke the glass. Somebody else has to sign for it.",
};

let signing = false;

const page = () => document.querySelector("main[data-approval]");
const find = (id) => document.getElementById(id);

/** Whether the statement holds the decision and the deployment on this page. */
const isShown = (decision, reason) => async ({ predicate, subject }, prepared) => {
  const deployment = shownText(find("canonical"));
  const digest = await digestOf(new TextEncoder().encode(deployment));
  return (
    digest === page().dataset.digest &&
    prepared.statement.includes(`"deployment":${deployment}`) &&
    subject.some((entry) => entry.digest.sha256 === digest) &&
    predicate.decision === decision &&
    predicate.withdraws === find(decision).dataset.statement &&
    predicate.directory_unreachable_since === find(decision).dataset.unreachableSince &&
    (predicate.reason ?? "") === reason
  );
};

function allowSigning(allowed) {
  for (const id of Object.keys(DONE)) {
    const button = find(id);
    if (button) {
      button.disabled = !allowed;
    }
  }
}

async function decide(decision) {
  if (signing) {
    return;
  }
  signing = true;
  allowSigning(false);
  const isGlass = decision === "break_glass";
  const message = find(isGlass ? "glass-message" : "message");
  const address = `/approvals/${page().dataset.approval}`;
  const field = find(isGlass ? "glass-reason" : "reason");
  const reason = decision === "approve" ? "" : field.value.trim();
  try {
    const wanted = reason ? { decision, reason } : { decision };
    const { signed } = await signStatement(message, `${address}/statements`, wanted, isShown(decision, reason));
    await post(`${address}/decisions`, signed);
    show(message, DONE[decision], { tone: "good" });
    keepReason("");
    field.value = "";
    signing = false;
    if (isGlass) {
      // Every page has a banner from now on, this one too.
      location.reload();
      return;
    }
    await refresh().catch(() => location.reload());
  } catch (error) {
    showRefusal(message, error, DOING[decision], page().dataset.signIn);
  } finally {
    signing = false;
    prepareSigning();
    // A disabled button loses the focus; whoever uses the keyboard goes on where they were.
    if (document.activeElement === document.body) {
      (find(decision) ?? find("decision")).focus({ preventScroll: true });
    }
  }
}

/** What was typed outlives a new sign-in, which leads through other pages. */
function keepReason(text) {
  const name = `reason of ${page().dataset.approval}`;
  if (text) {
    sessionStorage.setItem(name, text);
  } else {
    sessionStorage.removeItem(name);
  }
}

function restoreReason() {
  const kept = sessionStorage.getItem(`reason of ${page().dataset.approval}`);
  if (kept && find("reason")) {
    find("reason").value = kept;
    find("reason").closest("details").open = true;
  }
}

/** Enables the buttons where they can work, and says beforehand where they cannot. */
function prepareSigning() {
  prepareIntervening();
  if (find("sign")) {
    allowSigning(canSign(find("unable")));
  } else if (find("glass")) {
    allowSigning(canSign(find("glass-unable")));
  }
}

/** The fields in which a person says why. */
const REASONS = ["reason", "glass-reason"];

const isBusy = () =>
  signing ||
  isIntervening() ||
  REASONS.some((id) => Boolean(find(id)?.value) || document.activeElement?.id === id);

/** Replaces the main section by the current one; what was typed, opened and focused stays. */
async function refresh() {
  const response = await fetch(location.pathname, { credentials: "same-origin", redirect: "manual" });
  if (!response.ok) {
    throw new Error("the page could not be loaded again");
  }
  const next = new DOMParser().parseFromString(await response.text(), "text/html");
  const main = next.querySelector("main[data-approval]");
  if (!main || signing || isIntervening()) {
    return;
  }
  const typed = find("reason")?.value ?? "";
  const focused = document.activeElement?.id;
  const open = Array.from(page().querySelectorAll("details[open][id]"), (details) => details.id);
  const before = page().dataset.status;
  page().replaceWith(document.adoptNode(main));
  document.title = next.title;
  for (const id of open) {
    find(id)?.setAttribute("open", "");
  }
  if (typed && find("reason")) {
    find("reason").value = typed;
  }
  if (focused) {
    (find(focused) ?? find("decision")).focus({ preventScroll: true });
  }
  if (page().dataset.status !== before || page().dataset.final !== "true") {
    find("announcement").textContent = find("sentence").textContent;
  }
  prepareSigning();
}

/** How far a time is away, in the words that the gate uses. */
function distance(milliseconds) {
  const minutes = Math.floor(Math.abs(milliseconds) / 60_000);
  if (minutes < 1) {
    return milliseconds > 0 ? "in less than a minute" : "just now";
  }
  const [count, unit] =
    minutes < 60
      ? [minutes, "minute"]
      : minutes < 1440
        ? [Math.floor(minutes / 60), "hour"]
        : [Math.floor(minutes / 1440), "day"];
  const words = `${count} ${unit}${count === 1 ? "" : "s"}`;
  return milliseconds > 0 ? `in ${words}` : `${words} ago`;
}

/** Distances stay true while the page is open. */
function tellTheTime() {
  for (const relative of page().querySelectorAll("time + .relative")) {
    const at = Date.parse(relative.previousElementSibling.dateTime);
    relative.textContent = `(${distance(at - Date.now())})`;
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Asks the gate to answer as soon as something changes, until nothing changes any more. */
async function follow() {
  let wait = 1000;
  let known = Number(page().dataset.version);
  while (page().dataset.final !== "true") {
    try {
      const query = `version=${known}&wait=${WAIT_SECONDS}`;
      const address = `/approvals/${page().dataset.approval}/status?${query}`;
      const response = await fetch(address, { credentials: "same-origin", redirect: "error" });
      if (response.status === 401) {
        sessionEnded();
        return;
      }
      if (!response.ok) {
        throw new Error(`status ${response.status}`);
      }
      const { version } = await response.json();
      wait = 1000;
      if (version > known) {
        if (isBusy()) {
          find("out-of-date").hidden = false;
        } else {
          await refresh();
        }
        known = version;
      }
    } catch {
      await pause(wait);
      wait = Math.min(wait * 2, LONGEST_PAUSE);
    }
  }
}

function sessionEnded() {
  const banner = find("out-of-date");
  const link = document.createElement("a");
  link.href = page().dataset.signIn;
  link.textContent = "Sign in again";
  banner.replaceChildren("Your session ended, so this page no longer follows what happens. ", link);
  banner.hidden = false;
}

document.addEventListener("click", (event) => {
  const id = event.target.closest?.("button")?.id;
  if (id in DONE) {
    decide(id);
  } else if (id === "refresh") {
    refresh().catch(() => location.reload());
  }
});

document.addEventListener("input", (event) => {
  if (event.target.id === "reason") {
    keepReason(event.target.value);
  }
});

restoreReason();
prepareSigning();
setInterval(tellTheTime, CLOCK_TICK);
follow();

// A gate, a sandbox and a browser with a virtual authenticator, as real as they come.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { chromium } from "playwright-core";
import { target } from "../harness/demo.mjs";

export { restartWith, startDemo } from "../harness/demo.mjs";

/** Where the pictures of every state go, to be looked at. */
export const pictures = path.join(target, "pictures");

/** A workload token of the sandbox; `claims` replace the defaults. */
export async function token(demo, claims = {}) {
  const answer = await fetch(demo.tokens, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(claims),
  });
  return (await answer.json()).token;
}

let asked = 0;

/** Asks for a deployment as a pipeline does; `changes` replace members of the body. */
export async function ask(demo, changes = {}) {
  asked += 1;
  const digest = asked.toString(16).padStart(64, "a");
  const body = {
    environment: "production",
    subject: {
      kind: "deployment",
      service: "projects/demo/locations/europe-west1/services/web",
      image: `europe-docker.pkg.dev/demo/app/web@sha256:${digest}`,
      template: {
        containers: [
          {
            env: [{ name: "GREETING", value: "hello, world" }],
            resources: { limits: { cpu: "2", memory: "512Mi" }, cpuIdle: true },
          },
        ],
      },
    },
    reason: "Fixes the checkout on phones, which fails for one customer in twenty",
    title: "web 2.4.1",
    body: "Smoke tests are green on staging since this morning.\nThe second CPU is for the image resizing.",
    links: [{ title: "Pull request 218", url: "https://github.com/demo/web/pull/218" }],
    ...changes,
  };
  const answer = await fetch(`${demo.gate}/v1/approvals`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${await token(demo)}`,
      "idempotency-key": `browser-${process.pid}-${asked}`,
      "content-type": "application/json",
    },
    body: JSON.stringify(body),
  });
  const approval = await answer.json();
  if (answer.status !== 201) throw new Error(JSON.stringify(approval));
  return approval;
}

/** Reads an approval as its requester. */
export async function read(demo, id) {
  const headers = { authorization: `Bearer ${await token(demo)}` };
  return (await fetch(`${demo.gate}/v1/approvals/${id}`, { headers })).json();
}

const ENDING_MILLISECONDS = 60_000;

/** Waits until the approval has ended, and gives it. */
export async function ended(demo, id) {
  let version = 0;
  const deadline = performance.now() + ENDING_MILLISECONDS;
  for (;;) {
    const headers = { authorization: `Bearer ${await token(demo)}` };
    const url = `${demo.gate}/v1/approvals/${id}?wait=10&version=${version}`;
    const approval = await (await fetch(url, { headers })).json();
    if (!["pending", "approved", "executing"].includes(approval.status)) return approval;
    if (performance.now() > deadline) throw new Error(`${id} did not end: ${approval.status_sentence}`);
    version = approval.version;
  }
}

/** Waits until rules of the configuration file wait for signatures, or no longer do. */
export async function untilRulesWait(demo, wait) {
  const deadline = performance.now() + ENDING_MILLISECONDS;
  for (;;) {
    const health = await fetch(`${demo.gate}/health/ready`).then((answer) => answer.json()).catch(() => ({}));
    if (health.status === "ok" && health.rules?.changes_wait === wait) return;
    if (performance.now() > deadline) throw new Error(`the rules do not come to wait (${wait}): ${JSON.stringify(health)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Opens the change of the rules that waits. */
export async function openRules(demo, person) {
  const { page } = person;
  await untilRulesWait(demo, true);
  const link = page.getByRole("link", { name: /^change of the rules/i });
  for (let tries = 0; tries < 100; tries += 1) {
    await page.goto(`${demo.gate}/`);
    if ((await link.count()) > 0) break;
    await page.waitForTimeout(100);
  }
  await link.first().click();
  await page.getByRole("heading", { name: /^change of the rules/i }).waitFor();
}

/** Signs the change of the rules that waits, as the only one who has to. */
export async function signRules(demo, person) {
  await openRules(demo, person);
  await person.page.getByRole("button", { name: /^approve/i }).click();
  await untilRulesWait(demo, false);
}

/** Headless Chromium. */
export function openBrowser() {
  const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
  if (!executablePath) throw new Error("Chromium is missing: install the Debian package chromium, or run tests/run");
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

/** A fresh profile with a page and a virtual authenticator that verifies its user. */
export async function openPerson(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(`script: ${error}`));
  page.on("console", (message) => {
    // A refused request is shown by the page; what else Chromium calls an error is one.
    if (message.type() === "error" && !message.text().includes("Failed to load resource")) {
      problems.push(message.text());
    }
  });
  const devtools = await context.newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return { context, page, devtools, authenticatorId, problems };
}

/** Opens a path of the gate and signs in at the directory when sent there. */
export async function signIn(demo, person, name, pathname = "/") {
  const { page } = person;
  await page.goto(demo.gate + pathname);
  const signInLink = page.getByRole("link", { name: /^sign in/i });
  if (!page.url().includes("/identity/") && (await signInLink.count()) > 0) await signInLink.first().click();
  await chooseName(demo, page, name);
}

export async function chooseName(demo, page, name) {
  await page.waitForURL((url) => url.href.startsWith(demo.identity));
  await page.getByRole("button", { name: new RegExp(`^${name}`, "i") }).click();
  await page.waitForURL((url) => url.href.startsWith(demo.gate));
}

/** Revokes the keys of profiles that are gone: nothing can be signed with them, for a new one either. */
export async function revokeKeysOfOtherProfiles(page) {
  const revoking = page.getByText("Revoke…", { exact: true });
  for (let left = await revoking.count(); left > 0; left -= 1) {
    await revoking.first().click();
    await page.getByRole("button", { name: "Revoke this key" }).first().click();
    await page.waitForURL(/\/keys/);
  }
}

/** Registers a key on the keys page, with the second sign-in that vouches for it. */
export async function registerKey(demo, person, name, keyName = "Desk key") {
  const { page } = person;
  await page.goto(`${demo.gate}/keys`);
  if (!person.hasKey) await revokeKeysOfOtherProfiles(page);
  person.hasKey = true;
  await page.getByLabel(/name/i).first().fill(keyName);
  await page.getByRole("button", { name: /register/i }).click();
  await chooseName(demo, page, name);
  await page.waitForURL(/\/keys/);
}

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Nothing that axe-core knows is wrong with the page, in light and in dark. */
export async function assertAccessible(page) {
  // The page's own policy forbids foreign scripts, as it should; the inspector goes around it.
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Runtime.evaluate", { expression: axe });
  for (const colorScheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme });
    const { result } = await devtools.send("Runtime.evaluate", {
      expression: "axe.run().then((found) => JSON.stringify(found.violations.map((one) => [one.id, one.nodes.map((node) => node.html)])))",
      awaitPromise: true,
      returnByValue: true,
    });
    assert.deepEqual(JSON.parse(result.value), [], `${colorScheme}: ${page.url()}`);
  }
}

/** Nothing of the page is wider than a narrow phone. */
export async function assertNarrow(page) {
  const size = page.viewportSize();
  await page.setViewportSize({ width: 320, height: 640 });
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(excess <= 0, `${page.url()} is ${excess} px too wide for 320 px`);
  await page.setViewportSize(size);
}

/** A picture of the page, light, dark and on a phone. */
export async function picture(page, name) {
  await mkdir(pictures, { recursive: true });
  const size = page.viewportSize();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: path.join(pictures, `${name}-${colorScheme}.png`), fullPage: true });
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 390, height: 844 });
  await page.screenshot({ path: path.join(pictures, `${name}-phone.png`), fullPage: true });
  await page.setViewportSize(size);
}

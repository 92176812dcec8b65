// One person and their keys: a backup key, for which the first one signs, and the report that it is lost.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  ask, assertAccessible, assertNarrow, chooseName, ended, openBrowser, openPerson, picture, registerKey, restartWith,
  signIn, startDemo,
} from "./support.mjs";

let demo;
let browser;

before(async () => {
  demo = await restartWith(await startDemo(), (config) => config.replace("keys = { minimum_keys = 1 }", "keys = {}"), { anew: true });
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** A security key that is plugged in. */
async function securityKey(devtools) {
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "usb",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return authenticatorId;
}

/** A second authenticator in the same browser; the other one is touched only when `use` says so. */
async function backup(person) {
  const { devtools, authenticatorId: first } = person;
  const second = await securityKey(devtools);
  const touch = async (authenticatorId, enabled) =>
    devtools.send("WebAuthn.setAutomaticPresenceSimulation", { authenticatorId, enabled });
  return {
    use: async (which) => {
      await touch(first, which === "first");
      await touch(second, which === "second");
    },
  };
}

test("a backup key is signed for by the first, and its loss stops nobody for a week", async () => {
  const alice = await openPerson(browser);
  const { page, devtools } = alice;
  // Security keys, since a browser looks for a key that it has built in before any other.
  await devtools.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId: alice.authenticatorId });
  alice.authenticatorId = await securityKey(devtools);
  await signIn(demo, alice, "alice", "/keys");
  await page.getByText(/you have no key yet/i).waitFor();
  await picture(page, "keys-none");
  await registerKey(demo, alice, "alice");
  await page.getByText(/you sign nothing now/i).waitFor();
  await picture(page, "keys-too-few");
  await assertAccessible(page);

  const keys = await backup(alice);
  await keys.use("second");
  // Between the two dialogs of the browser the person takes the other key into their hand.
  await page.route(/\/keys\/ceremonies\/[^/]+$/, async (route) => {
    await keys.use("first");
    await route.continue();
  });
  await page.getByLabel(/name of the key/i).fill("Backup key");
  await page.getByRole("button", { name: /register/i }).click();
  await chooseName(demo, page, "alice");
  await page.waitForURL(/registered/);
  await page.getByText("Backup key", { exact: false }).first().waitFor();
  assert.equal(await page.getByText(/you sign nothing now/i).count(), 0);
  await picture(page, "keys-two");

  const approval = await ask(demo);
  await page.goto(approval.url);
  await page.getByRole("button", { name: /^approve/i }).click();
  assert.equal((await ended(demo, approval.id)).status, "succeeded");

  await page.goto(`${demo.gate}/keys`);
  const lost = page.locator("li", { has: page.getByRole("heading", { name: /backup key/i }) });
  await lost.getByText("Report as lost…").click();
  await picture(page, "key-report-loss");
  await assertAccessible(page);
  await assertNarrow(page);
  await lost.getByRole("button", { name: /report it as lost/i }).click();
  await page.getByText(/nothing is recorded before/i).waitFor();
  await picture(page, "key-loss-confirm");
  await assertAccessible(page);
  await assertNarrow(page);
  await page.getByRole("link", { name: /sign in and report it/i }).click();
  await chooseName(demo, page, "alice");
  await page.getByText(/the loss is recorded/i).waitFor();
  await page.getByText(/what is left signs there until/i).waitFor();
  await picture(page, "key-lost");
  await assertAccessible(page);
  await assertNarrow(page);

  const later = await ask(demo);
  await page.goto(later.url);
  await page.getByText(/have too few now/i).waitFor();
  await picture(page, "pending-grace");
  await page.getByRole("button", { name: /^approve/i }).click();
  assert.equal((await ended(demo, later.id)).status, "succeeded");
  assert.deepEqual(alice.problems, []);
});

// A person and their keys: a backup key, for which the first one signs, and the report that one of them is lost.

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

/** Somebody with a security key, and at the keys page. */
async function withSecurityKey(name) {
  const person = await openPerson(browser);
  // Security keys, since a browser looks for a key that it has built in before any other.
  await person.devtools.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId: person.authenticatorId });
  person.authenticatorId = await securityKey(person.devtools);
  await signIn(demo, person, name, "/keys");
  return person;
}

/** Registers a second key, for which the first one signs. It is the first one that is in the person's hand then. */
async function registerBackup(person, name) {
  const { page } = person;
  const keys = await backup(person);
  await keys.use("second");
  // Between the two dialogs of the browser the person takes the other key into their hand.
  await page.route(/\/keys\/ceremonies\/[^/]+$/, async (route) => {
    await keys.use("first");
    await route.continue();
  });
  await page.getByLabel(/name of the key/i).fill("Backup key");
  await page.getByRole("button", { name: /register/i }).click();
  await chooseName(demo, page, name);
  await page.waitForURL(/registered/);
  await page.getByText("Backup key", { exact: false }).first().waitFor();
}

test("a backup key is signed for by the first, and its loss stops nobody for a week", async () => {
  const alice = await withSecurityKey("alice");
  const { page } = alice;
  await page.getByText(/you have no key yet/i).waitFor();
  await picture(page, "keys-none");
  await registerKey(demo, alice, "alice");
  await page.getByText(/you sign nothing now/i).waitFor();
  await picture(page, "keys-too-few");
  await assertAccessible(page);

  await registerBackup(alice, "alice");
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

test("another key signs the report that one is lost", async () => {
  const bob = await withSecurityKey("bob");
  const { page } = bob;
  await registerKey(demo, bob, "bob");
  await registerBackup(bob, "bob");
  const lost = page.locator("li", { has: page.getByRole("heading", { name: /backup key/i }) });
  await lost.getByText("Report as lost…").click();
  await lost.getByRole("button", { name: /report it as lost/i }).click();
  await page.getByText(/nothing is recorded before/i).waitFor();
  await picture(page, "key-loss-choice");
  await page.getByRole("button", { name: /sign it with another key/i }).click();
  await page.getByText(/the loss is recorded/i).waitFor();
  await lost.getByText(/reported as lost|as lost since/i).first().waitFor();
  await picture(page, "key-lost-by-key");
  await assertAccessible(page);
  assert.deepEqual(bob.problems, []);
});

// The face of the product: sign in, register, read, sign, watch.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, assertAccessible, ended, openBrowser, openPerson, picture, read, registerKey, signIn, startDemo } from "./support.mjs";

let demo;
let browser;

before(async () => {
  demo = await startDemo();
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** Alice, signed in, with a key. */
async function alice(options) {
  const person = await openPerson(browser, options);
  await signIn(demo, person, "alice", "/keys");
  await registerKey(demo, person, "alice");
  return person;
}

async function journal(method, part) {
  const { calls } = await (await fetch(demo.journal)).json();
  return calls.filter((call) => call.method === method && call.path.includes(part));
}

test("a release manager reads, approves, and watches it succeed", async () => {
  const person = await alice();
  await picture(person.page, "keys");
  await assertAccessible(person.page);
  const approval = await ask(demo);
  const { page } = person;
  await page.goto(`${demo.gate}/`);
  await picture(page, "inbox");
  await assertAccessible(page);
  await page.goto(approval.url);
  await picture(page, "pending");
  await assertAccessible(page);
  const main = page.getByRole("main");
  for (const fact of [approval.short_code, "hello, world", "production", "europe-west1", "demo/web", "Fixes the checkout"]) {
    await main.getByText(fact, { exact: false }).filter({ visible: true }).first().waitFor();
  }
  await page.getByRole("button", { name: /^approve/i }).click();
  const outcome = await ended(demo, approval.id);
  assert.equal(outcome.status, "succeeded", outcome.status_sentence);
  await main.getByText(/succeeded/i).first().waitFor({ timeout: 15_000 });
  await page.getByText(outcome.rollout.revision).first().waitFor();
  await picture(page, "succeeded");
  await assertAccessible(page);
  assert.deepEqual(outcome.rollout.traffic, [{ revision: outcome.rollout.revision, percent: 100 }]);
  assert.equal(outcome.decisions[0].approver.subject, "u-alice");
  // One PATCH for the revision and one for each of the three steps, no more.
  assert.equal((await journal("PATCH", "/services/web")).length, 4);
  assert.deepEqual(person.problems, []);
  await person.context.close();
});

test("a rejection is signed, says why, and rolls nothing out", async () => {
  const person = await alice();
  const approval = await ask(demo);
  const before = (await journal("PATCH", "/services/")).length;
  const { page } = person;
  await page.goto(approval.url);
  const reason = page.getByRole("textbox", { name: /reason|why/i });
  if (!(await reason.isVisible())) await page.getByText(/^reject/i).first().click();
  await reason.fill("The migration is not reviewed yet");
  await page.getByRole("button", { name: /sign the rejection/i }).click();
  const outcome = await ended(demo, approval.id);
  assert.equal(outcome.status, "rejected");
  assert.equal(outcome.decisions[0].reason, "The migration is not reviewed yet");
  await page.getByRole("main").getByText(/rejected/i).first().waitFor({ timeout: 15_000 });
  await picture(page, "rejected");
  assert.equal((await journal("PATCH", "/services/")).length, before);
  assert.deepEqual(person.problems, []);
  await person.context.close();
});

test("somebody without a key is told what to do, and nobody else's page is shown", async () => {
  const approval = await ask(demo);
  const bob = await openPerson(browser);
  await signIn(demo, bob, "bob", `/approvals/${approval.id}`);
  assert.equal(bob.page.url(), approval.url, "signing in leads back to the page");
  await bob.page.getByRole("main").getByRole("link", { name: /key/i }).first().waitFor();
  await picture(bob.page, "no-key");
  const dan = await openPerson(browser);
  await signIn(demo, dan, "dan", `/approvals/${approval.id}`);
  await dan.page.getByText(/nothing of this name/i).waitFor();
  await picture(dan.page, "not-found");
  assert.equal((await read(demo, approval.id)).status, "pending");
  await bob.context.close();
  await dan.context.close();
});

test("a browser without WebAuthn is told so beforehand", async () => {
  const person = await openPerson(browser);
  await person.page.addInitScript(() => delete window.PublicKeyCredential);
  await signIn(demo, person, "alice", "/keys");
  await person.page.getByText(/cannot use security keys/i).first().waitFor();
  assert.ok(await person.page.getByRole("button", { name: /register/i }).isDisabled());
  await person.context.close();
});

test("a signature without user verification is refused and nothing is lost", async () => {
  const person = await alice();
  const approval = await ask(demo);
  await person.devtools.send("WebAuthn.setUserVerified", { authenticatorId: person.authenticatorId, isUserVerified: false });
  await person.page.goto(approval.url);
  await person.page.getByRole("button", { name: /^approve/i }).click();
  await person.page.getByRole("alert").or(person.page.getByRole("status")).filter({ hasText: /\S/ }).first().waitFor();
  assert.equal((await read(demo, approval.id)).status, "pending");
  await person.context.close();
});

// Two people: one registers a key, the other endorses it, and revokes it later.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  ask, assertAccessible, assertNarrow, ended, openBrowser, openPerson, picture, registerKey, restartWith, signIn, signRules, startDemo,
} from "./support.mjs";

let demo;
let browser;
let alice;

/** Alice's key is the pinned one, from which all others descend. */
before(async () => {
  demo = await startDemo();
  browser = await openBrowser();
  alice = await openPerson(browser);
  await signIn(demo, alice, "alice", "/keys");
  await registerKey(demo, alice, "alice");
  const key = await alice.page.locator(".public-key").textContent();
  demo = await restartWith(
    demo,
    (config) => `${config.replace("[trust]\n", `[trust]\nendorsers = ["${key}"]\n`)}\n[enrolment]\nendorsements = 1\n`,
  );
  await signRules(demo, alice);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

test("a key signs after another approver endorsed it, and nothing after it was revoked", async () => {
  const bob = await openPerson(browser);
  await signIn(demo, bob, "bob", "/keys");
  await registerKey(demo, bob, "bob", "Bob’s phone");
  await bob.page.getByText("Waits for endorsement").waitFor();
  await picture(bob.page, "key-waiting");
  await assertAccessible(bob.page);
  await assertNarrow(bob.page);
  const code = await bob.page.locator("dt:text-is('Code') + dd code").textContent();
  const approval = await ask(demo);
  await bob.page.goto(approval.url);
  assert.equal(await bob.page.getByRole("button", { name: /^approve/i }).count(), 0);

  const { page } = alice;
  await page.goto(`${demo.gate}/`);
  await page.getByText(/a new key waits/i).waitFor();
  await picture(page, "inbox-key-waiting");
  await page.getByRole("link", { name: /look at the keys/i }).click();
  await assertAccessible(page);
  await page.getByRole("link", { name: /look at it and endorse/i }).click();
  assert.equal(await page.locator("#short-code").textContent(), code, "both see one code");
  await page.getByText("bob@demo.example").waitFor();
  await picture(page, "endorse");
  await assertAccessible(page);
  await assertNarrow(page);
  await page.getByRole("button", { name: /endorse this key/i }).click();
  await page.waitForURL(/endorsed/);
  await page.getByText(/you endorsed the key/i).waitFor();
  await picture(page, "keys-all");
  await assertNarrow(page);

  await bob.page.goto(approval.url);
  await bob.page.getByRole("button", { name: /^approve/i }).click();
  assert.equal((await ended(demo, approval.id)).status, "succeeded");

  const bobs = page.locator("section", { has: page.getByRole("heading", { name: "Bob Brandt" }) });
  await bobs.getByText("Revoke…").click();
  await picture(page, "revoke");
  await bobs.getByRole("textbox").fill("The phone was lost on a train");
  await bobs.getByRole("button", { name: /revoke this key/i }).click();
  await page.getByText(/the key is revoked/i).waitFor();
  await bob.page.goto(`${demo.gate}/keys`);
  await bob.page.getByText(/Alice Adler revoked it.*lost on a train/).waitFor();
  await picture(bob.page, "key-revoked");
  await assertAccessible(bob.page);
  const later = await ask(demo);
  await bob.page.goto(later.url);
  assert.equal(await bob.page.getByRole("button", { name: /^approve/i }).count(), 0);
  assert.deepEqual([...alice.problems, ...bob.problems], []);
});

test("a page that shows another enrolment than the gate asks for signs nothing", async () => {
  const carol = await openPerson(browser);
  await signIn(demo, carol, "carol", "/keys");
  await registerKey(demo, carol, "carol");
  const { page } = alice;
  await page.goto(`${demo.gate}/keys/all`);
  await page.getByRole("link", { name: /look at it and endorse/i }).click();
  await page.locator("#canonical").evaluate((record) => { record.textContent = record.textContent.replace("u-carol", "u-alice"); });
  await page.getByRole("button", { name: /endorse this key/i }).click();
  await page.getByText(/something else than this page shows/i).waitFor();
  await page.reload();
  await page.getByRole("button", { name: /endorse this key/i }).waitFor();
});

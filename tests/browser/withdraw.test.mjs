// Somebody signs, thinks again, takes the signature back, and signs after all.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  ask, assertAccessible, assertNarrow, ended, openBrowser, openPerson, picture, read, registerKey, restartWith, signIn, startDemo,
} from "./support.mjs";

let demo;
let browser;

/** Two have to sign. */
before(async () => {
  demo = await restartWith(await startDemo(), (config) => config.replace("count = 1", "count = 2"), { anew: true });
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

async function approver(name) {
  const person = await openPerson(browser);
  await signIn(demo, person, name, "/keys");
  await registerKey(demo, person, name);
  return person;
}

const chip = (page, words) => page.locator("#status", { hasText: words }).waitFor();

test("a signature is taken back with a reason, and given again", async () => {
  const [alice, bob] = [await approver("alice"), await approver("bob")];
  const approval = await ask(demo);
  const { page } = alice;
  await page.goto(approval.url);
  await page.getByRole("button", { name: /^approve/i }).click();
  await page.getByText("You approved this. Until the rollout begins").waitFor();
  await page.getByText("Take it back…").click();
  await picture(page, "take-back");
  await assertAccessible(page);
  await assertNarrow(page);
  await page.getByRole("textbox", { name: /why/i }).fill("The migration is not reviewed yet");
  await page.getByRole("button", { name: /sign and take it back/i }).click();
  await page.getByText(/and took it back: it does not count/i).waitFor();
  await page.getByText("0 of 2").waitFor();
  await chip(page, "Waiting for signatures");
  const taken = await read(demo, approval.id);
  assert.equal(taken.status, "pending");
  assert.ok(taken.decisions[0].withdrawn_at);

  await bob.page.goto(approval.url);
  await bob.page.getByText("The migration is not reviewed yet").waitFor();
  await picture(bob.page, "taken-back");
  await assertAccessible(bob.page);
  await bob.page.getByRole("button", { name: /^approve/i }).click();
  await bob.page.getByText("1 of 2").waitFor();

  await page.getByRole("button", { name: /^approve/i }).click();
  assert.equal((await ended(demo, approval.id)).status, "succeeded");
  await chip(page, "Succeeded");
  assert.equal(await page.getByText("Take it back…").count(), 0);
  for (const person of [alice, bob]) {
    assert.deepEqual(person.problems, []);
    await person.context.close();
  }
});

test("the page signs no withdrawal of anything but what it shows", async () => {
  const alice = await approver("alice");
  const approval = await ask(demo);
  const { page } = alice;
  await page.goto(approval.url);
  await page.getByRole("button", { name: /^approve/i }).click();
  await page.getByText("Take it back…").click();
  await page.evaluate(() => {
    document.getElementById("withdraw").dataset.statement = "0".repeat(64);
  });
  await page.getByRole("button", { name: /sign and take it back/i }).click();
  await page.getByText(/nothing was signed/i).waitFor();
  assert.equal((await read(demo, approval.id)).decisions[0].withdrawn_at, null);
  await alice.context.close();
});

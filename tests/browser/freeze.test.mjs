// A person freezes production with their key; what is signed waits, and begins when somebody lifts the freeze.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  ask, assertAccessible, assertNarrow, ended, openBrowser, openPerson, picture, read, registerKey, signIn, startDemo,
} from "./support.mjs";

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

test("a freeze is signed, holds what is approved, and is lifted by somebody else", async () => {
  const alice = await openPerson(browser);
  const bob = await openPerson(browser, { colorScheme: "dark" });
  for (const [person, name] of [[alice, "alice"], [bob, "bob"]]) {
    await signIn(demo, person, name, "/keys");
    await registerKey(demo, person, name);
  }
  const { page } = alice;
  await page.getByRole("link", { name: "Environments" }).click();
  await page.getByRole("heading", { name: /^production open/i }).waitFor();
  await picture(page, "environments-open");
  await assertAccessible(page);
  await page.getByText("Freeze production…").click();
  const form = page.locator("form.freeze[data-environment=production]");
  await form.getByLabel("Why").fill("The database is being moved");
  await form.getByLabel("For how long").selectOption("4");
  await picture(page, "environments-freezing");
  await form.getByRole("button", { name: /sign and freeze/i }).click();
  await page.getByText(/^frozen\. nothing approved begins/i).waitFor();
  await page.getByRole("heading", { name: /^production frozen/i }).waitFor();
  await picture(page, "environments-frozen");
  await assertAccessible(page);
  await assertNarrow(page);

  const { id, url } = await ask(demo, { title: "web 2.4.2" });
  await bob.page.goto(url);
  await bob.page.getByText(/for now nothing that is signed begins/i).waitFor();
  await bob.page.getByRole("button", { name: /^approve/i }).click();
  await bob.page.locator("#sentence").getByText(/the rollout is held: alice adler froze production/i).waitFor();
  await picture(bob.page, "approval-frozen");
  await assertAccessible(bob.page);
  assert.equal((await read(demo, id)).hold.code, "frozen");
  await bob.page.goto(`${demo.gate}/`);
  await bob.page.getByText("Frozen: production.").waitFor();
  await picture(bob.page, "inbox-frozen");
  await assertNarrow(bob.page);

  await bob.page.getByRole("link", { name: /why, and who can lift it/i }).click();
  await bob.page.getByText("Lift…").click();
  await bob.page.locator("form.lift").getByLabel("Why").fill("It is moved");
  await picture(bob.page, "environments-lifting");
  await bob.page.getByRole("button", { name: /sign and lift/i }).click();
  await bob.page.getByText(/^lifted\. what is approved begins/i).waitFor();
  assert.equal((await ended(demo, id)).status, "succeeded");
  assert.deepEqual([...alice.problems, ...bob.problems], []);
});

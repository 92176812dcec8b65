// Somebody edits the configuration. The page says whose rights would grow, and two people decide.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  assertAccessible, assertNarrow, openBrowser, openPerson, openRules, picture, registerKey, restartWith, signIn, startDemo,
  untilRulesWait,
} from "./support.mjs";

const TWO = (config) => config.replace("count = 1", "count = 2");
const LOWER = (config) =>
  `${config.replace("count = 2", "count = 1").replace('expires_in = "8h"', 'expires_in = "2d"')}\n[roles]\noperator = ["group:engineering"]\n`;

let demo;
let browser;

before(async () => {
  demo = await restartWith(await startDemo(), TWO, { anew: true });
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

test("edited rules wait until those in force are met, and then count", async () => {
  const alice = await openPerson(browser);
  const bob = await openPerson(browser, { colorScheme: "dark" });
  for (const [person, name] of [[alice, "alice"], [bob, "bob"]]) {
    await signIn(demo, person, name, "/keys");
    await registerKey(demo, person, name);
  }
  demo = await restartWith(demo, LOWER);
  const { page } = alice;
  await openRules(demo, alice);
  await page.getByText("1 of release-managers must sign; before, 2 of release-managers").waitFor();
  await page.getByText(/engineering is an operator now, who freezes/i).waitFor();
  await page.getByText(/somebody may do more after this/i).waitFor();
  await picture(page, "rules-pending");
  await assertAccessible(page);
  await assertNarrow(page);
  await page.getByRole("button", { name: /^approve/i }).click();
  await page.locator("#sentence").getByText(/waiting for 1 more signature/i).waitFor();
  await page.goto(`${demo.gate}/environments`);
  await page.getByText(/the configuration file says other rules, which wait/i).waitFor();
  await picture(page, "rules-environments-waiting");
  await assertAccessible(page);

  await openRules(demo, bob);
  await bob.page.getByRole("button", { name: /^approve/i }).click();
  await untilRulesWait(demo, false);
  await bob.page.reload();
  await bob.page.locator("#sentence").getByText(/the new rules are in force/i).waitFor();
  await picture(bob.page, "rules-in-force");
  await bob.page.goto(`${demo.gate}/environments`);
  await bob.page.getByText("Signed by Alice Adler and Bob Brandt").waitFor();
  await picture(bob.page, "rules-environments");
  await assertAccessible(bob.page);
  await assertNarrow(bob.page);
  assert.deepEqual([...alice.problems, ...bob.problems], []);
});

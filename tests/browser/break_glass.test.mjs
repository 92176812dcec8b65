// Production is closed and frozen; somebody breaks the glass, every page stays red, and somebody else signs for it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  ask, assertAccessible, assertNarrow, ended, openBrowser, openPerson, picture, read, registerKey, restartWith, signIn, startDemo,
} from "./support.mjs";

let demo;
let browser;

/** Open on a day that is not today, in every time zone; Bob breaks the glass, or Carol. */
const closed = () => {
  const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
  const day = days[(new Date().getUTCDay() + 3) % 7];
  return `
[[environment.production.window]]
days = ["${day}"]
from = "09:00"
to = "17:00"
time_zone = "Europe/Berlin"

[environment.production.break_glass]
rules = [{ from = ["person:u-bob", "person:u-carol"], count = 1 }]
explain_within = "24h"
`;
};

before(async () => {
  demo = await restartWith(await startDemo(), (config) => config.replace("count = 1", "count = 2") + closed(), { anew: true });
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

test("the glass is broken with a reason, and a second person signs for it", async () => {
  const [alice, bob] = [await openPerson(browser), await openPerson(browser)];
  for (const [person, name] of [[alice, "alice"], [bob, "bob"]]) {
    await signIn(demo, person, name, "/keys");
    await registerKey(demo, person, name);
  }
  await alice.page.goto(`${demo.gate}/environments`);
  await alice.page.getByRole("heading", { name: /^production closed/i }).waitFor();
  await picture(alice.page, "environments-closed");
  await assertAccessible(alice.page);
  await assertNarrow(alice.page);

  const approval = await ask(demo);
  await alice.page.goto(approval.url);
  await alice.page.getByRole("button", { name: /^approve/i }).click();
  await alice.page.getByText("1 of 2").waitFor();
  await picture(alice.page, "approval-closed");
  await assertAccessible(alice.page);
  assert.equal((await read(demo, approval.id)).hold.code, "closed");

  const { page } = bob;
  await page.goto(approval.url);
  await page.getByText("Break the glass…").click();
  await page.getByText(/this does not hold it any more then: production is outside its windows/i).waitFor();
  await page.getByText(/somebody else has to sign for it within 1 day/i).waitFor();
  await picture(page, "break-glass");
  await assertAccessible(page);
  await assertNarrow(page);
  await page.locator("#glass").getByRole("textbox", { name: /why/i }).fill("The checkout is down, incident 4711");
  await page.getByRole("button", { name: /sign and break the glass/i }).click();
  const banner = /bob brandt broke the glass for web in production\. somebody else has to sign for it/i;
  await page.getByText(banner).waitFor();
  assert.equal((await ended(demo, approval.id)).status, "succeeded");
  await page.locator("#status", { hasText: "Succeeded" }).waitFor();
  await picture(page, "approval-broken-glass");
  await assertAccessible(page);
  await page.goto(`${demo.gate}/`);
  await page.getByText(banner).waitFor();
  await picture(page, "inbox-broken-glass");
  await assertNarrow(page);
  await page.getByRole("link", { name: /read why, and sign for it/i }).click();
  await page.getByText("You broke this glass: somebody else has to sign for it.").waitFor();

  await alice.page.goto(`${demo.gate}/exceptions`);
  await alice.page.getByText("The checkout is down, incident 4711").waitFor();
  await picture(alice.page, "exceptions-open");
  await assertAccessible(alice.page);
  await assertNarrow(alice.page);
  await alice.page.getByText("Sign for it…").click();
  await alice.page.getByLabel(/what happened/i).fill("It was down; the fix is reviewed since");
  await picture(alice.page, "exceptions-signing");
  await alice.page.getByRole("button", { name: /sign and close it/i }).click();
  await alice.page.getByText("All of them are closed.").waitFor();
  assert.equal(await alice.page.getByText(banner).count(), 0);
  await picture(alice.page, "exceptions-closed");
  await assertAccessible(alice.page);
  for (const person of [alice, bob]) {
    assert.deepEqual(person.problems, []);
    await person.context.close();
  }
});

test("the page breaks no glass for anything but what it shows", async () => {
  const carol = await openPerson(browser);
  await signIn(demo, carol, "carol", "/keys");
  await registerKey(demo, carol, "carol");
  const approval = await ask(demo);
  const { page } = carol;
  await page.goto(approval.url);
  await page.getByText("Break the glass…").click();
  await page.locator("#glass-reason").fill("Now");
  await page.evaluate(() => {
    document.querySelector("main").dataset.digest = "0".repeat(64);
  });
  await page.getByRole("button", { name: /sign and break the glass/i }).click();
  await page.getByText(/nothing was signed/i).waitFor();
  assert.equal((await read(demo, approval.id)).status, "pending");
  await carol.context.close();
});

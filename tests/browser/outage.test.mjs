// The directory is down: a key alone signs in, and breaks the glass.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  ask, assertAccessible, assertNarrow, ended, openBrowser, openPerson, picture, read, registerKey, restartWith, signIn, startDemo,
} from "./support.mjs";

let demo;
let browser;

const glass = `
[environment.production.break_glass]
rules = [{ from = ["person:u-bob"], count = 1 }]
explain_within = "24h"
outage_grace = "4h"
`;

const outage = async (body) => {
  const sandbox = new URL(demo.identity).origin;
  const answer = await fetch(`${sandbox}/_sandbox/identity-outage`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.equal(answer.status, 200);
};

before(async () => {
  demo = await restartWith(await startDemo(), (config) => config.replace("count = 1", "count = 2") + glass, { anew: true });
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

test("while the directory is down a key alone breaks the glass, and the pages say so", async () => {
  const bob = await openPerson(browser);
  const { page } = bob;
  await signIn(demo, bob, "bob", "/keys");
  await registerKey(demo, bob, "bob");
  await page.goto(`${demo.gate}/environments`);
  await page.getByText(/of whoever signed in there in the last 4 hours/i).waitFor();
  await page.goto(`${demo.gate}/`);
  await page.getByRole("button", { name: /sign out/i }).click();
  const approval = await ask(demo);
  await outage({ seconds: 3600 });

  await page.goto(approval.url);
  await page.getByRole("heading", { name: /the directory cannot be reached/i }).waitFor();
  await picture(page, "key-sign-in");
  await assertAccessible(page);
  await assertNarrow(page);
  await page.getByRole("button", { name: /sign in with your key alone/i }).click();
  await page.waitForURL(approval.url);
  await page.getByText(/you signed in with your key alone: the directory cannot be reached since/i).waitFor();
  await page.getByText(/takes a sign-in at the directory to decide/i).waitFor();
  assert.equal(await page.getByRole("button", { name: /^approve/i }).count(), 0);
  await page.getByText("Break the glass…").click();
  await page.getByText(/you sign with it that the gate cannot reach the directory/i).waitFor();
  await picture(page, "break-glass-in-outage");
  await assertAccessible(page);
  await assertNarrow(page);

  // Everything else says why it does not work, before anything is signed.
  await page.goto(`${demo.gate}/keys`);
  await page.getByLabel(/name/i).first().fill("Another key");
  await page.getByRole("button", { name: /register/i }).click();
  await page.getByText(/everything else takes a sign-in at the directory/i).waitFor();
  await picture(page, "keys-in-outage");

  await page.goto(approval.url);
  await page.getByText("Break the glass…").click();
  await page.locator("#glass-reason").fill("The checkout is down, and so is the directory");
  await page.getByRole("button", { name: /sign and break the glass/i }).click();
  await page.getByText(/bob brandt broke the glass for web in production/i).waitFor();
  assert.equal((await ended(demo, approval.id)).status, "succeeded");
  await page.locator("#status", { hasText: "Succeeded" }).waitFor();
  await page.getByText(/signed in with a key alone: the directory could not be reached/i).waitFor();
  await picture(page, "approval-broken-glass-in-outage");
  await assertAccessible(page);
  await page.goto(`${demo.gate}/exceptions`);
  await page.getByText(/with a key alone: the directory could not be reached/i).waitFor();
  await picture(page, "exceptions-in-outage");
  await assertAccessible(page);
  await assertNarrow(page);
  assert.deepEqual(bob.problems, []);
  await bob.context.close();
});

test("the page signs nothing but a sign-in, and nobody in who has no key", async () => {
  const stranger = await openPerson(browser);
  const { page } = stranger;
  await page.goto(`${demo.gate}/sign-in/key?return_to=/keys`);
  // Somebody between page and gate has another statement signed.
  await page.route("**/sign-in/key/statements", async (route) => {
    const answer = await route.fetch();
    const prepared = await answer.json();
    const statement = JSON.parse(prepared.statement);
    statement.predicateType = "urn:countersign:predicate:break-glass:v1";
    await route.fulfill({ response: answer, json: { ...prepared, statement: JSON.stringify(statement) } });
  });
  await page.getByRole("button", { name: /sign in with your key alone/i }).click();
  await page.getByText(/nothing was signed/i).waitFor();
  await page.unroute("**/sign-in/key/statements");
  await page.getByRole("button", { name: /sign in with your key alone/i }).click();
  await page.getByText(/the key was not used/i).waitFor();
  await picture(page, "key-sign-in-refused");
  // When the directory is back, the way leads there.
  await outage({ off: true });
  await page.waitForTimeout(5_100);
  await page.getByRole("link", { name: /try the directory again/i }).click();
  await page.waitForURL((url) => url.href.startsWith(demo.identity));
  await stranger.context.close();
  const approval = await ask(demo);
  assert.equal((await read(demo, approval.id)).status, "pending");
});

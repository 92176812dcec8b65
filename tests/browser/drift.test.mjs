// Somebody changes a service beside the gate: it is found, and two people explain it with their keys.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  assertAccessible, assertNarrow, openBrowser, openPerson, picture, registerKey, restartWith, signIn, startDemo,
} from "./support.mjs";

const SERVICE = "projects/demo/locations/europe-west1/services/web";
const WHY = "Hotfix by hand, incident 7: the gate was down.";

let demo;
let browser;

before(async () => {
  demo = await startDemo();
  browser = await openBrowser();
  demo = await restartWith(demo, (config) => `${config}\n[drift]\nevery = "1s"\n`);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

async function changeBesideTheGate() {
  const image = `europe-docker.pkg.dev/demo/app/web@sha256:${"b".repeat(64)}`;
  const answer = await fetch(`${demo.sandbox}/_sandbox/outside-edit`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      service: SERVICE,
      modifier: "mallory@example.com",
      change: { template: { containers: [{ image }] } },
    }),
  });
  assert.ok(answer.ok, await answer.text());
}

/** Loads the page until it shows this. */
async function until(page, text) {
  for (let turn = 0; turn < 100; turn += 1) {
    await page.goto(`${demo.gate}/drift`);
    if (await page.getByText(text).count()) return;
    await page.waitForTimeout(200);
  }
  assert.fail(`the page does not show ${text}`);
}

test("a change beside the gate is open until two people signed one explanation", async () => {
  const alice = await openPerson(browser);
  await signIn(demo, alice, "alice", "/keys");
  await registerKey(demo, alice, "alice");
  const bob = await openPerson(browser);
  await signIn(demo, bob, "bob", "/keys");
  await registerKey(demo, bob, "bob");
  await until(alice.page, "None was found.");
  // The first look has to be over, or what is changed now would be what it was.
  await alice.page.goto(`${demo.gate}/audit?kind=service.observed`);
  while (await alice.page.getByText("web was looked at for the first time").count() === 0) {
    await alice.page.waitForTimeout(200);
    await alice.page.reload();
  }
  await changeBesideTheGate();
  await until(alice.page, "One of them is open.");
  assert.ok(await alice.page.getByText("mallory@example.com").isVisible());
  await picture(alice.page, "drift-open");
  await alice.page.getByText("Explain it…").click();
  await alice.page.getByLabel(/what happened/i).fill(WHY);
  await alice.page.getByRole("button", { name: "Sign the explanation" }).click();
  await alice.page.getByText(`“${WHY}”`).waitFor();
  assert.equal(await alice.page.getByText("One of them is open.").count(), 1);
  assert.equal(await alice.page.getByRole("button", { name: /sign this explanation too/i }).count(), 0);
  await until(bob.page, WHY);
  await assertAccessible(bob.page);
  await assertNarrow(bob.page);
  await picture(bob.page, "drift-explained-once");
  await bob.page.getByRole("button", { name: /sign this explanation too/i }).click();
  await bob.page.getByText("All of them are explained.").waitFor();
  await picture(bob.page, "drift-explained");
  assert.deepEqual([...alice.problems, ...bob.problems], []);
});

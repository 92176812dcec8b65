// An approver intervenes: a paused rollout goes on, a watched one is stopped, each with one signature.

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

test("a paused rollout goes on, and a watched one is stopped and restored", async () => {
  const person = await openPerson(browser);
  const { page } = person;
  await signIn(demo, person, "alice", "/keys");
  await registerKey(demo, person, "alice");
  const steps = [{ percent: 10, pause: true }, { percent: 50, bake: "1h" }, 100];
  const digest = "b".repeat(64);
  const approval = await ask(demo, {
    subject: {
      kind: "deployment",
      service: "projects/demo/locations/europe-west1/services/web",
      image: `europe-docker.pkg.dev/demo/app/web@sha256:${digest}`,
      steps,
    },
  });
  await page.goto(approval.url);
  const main = page.getByRole("main");
  await main.getByText("Watched for 1 hour.").waitFor();
  await main.getByText(/The rollout waits here until one of those who may sign/).waitFor();
  await page.getByRole("button", { name: /^approve/i }).click();
  const goOn = page.getByRole("button", { name: "Go on" });
  await goOn.waitFor({ timeout: 30_000 });
  await main.getByText(/pauses there, as was signed/).first().waitFor();
  await picture(page, "paused");
  await assertAccessible(page);
  await goOn.click();
  await main.getByText(/and is watched until/).first().waitFor({ timeout: 30_000 });
  assert.equal((await read(demo, approval.id)).rollout.steps_done, 2);
  await picture(page, "watched");
  await assertAccessible(page);
  await page.getByLabel(/^why/i).fill("It is slow for one customer in ten");
  await page.getByRole("button", { name: "Stop and restore" }).click();
  const outcome = await ended(demo, approval.id);
  assert.equal(outcome.status, "rolled_back", outcome.status_sentence);
  await main.getByText(/Alice Adler stopped it, because “It is slow for one customer in ten”/).first().waitFor({ timeout: 15_000 });
  await picture(page, "stopped");
  await assertAccessible(page);
  assert.deepEqual(person.problems, []);
});

// A worker pool of Cloud Run: what would change is read and signed, and the page speaks of instances and shows no address.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, assertAccessible, assertNarrow, ended, openBrowser, openPerson, picture, registerKey, restartWith, signIn, startDemo } from "./support.mjs";

const parent = "projects/demo/locations/europe-west1/workerPools";
const image = (digit) => `europe-docker.pkg.dev/demo/app/web@sha256:${digit.repeat(64)}`;

let demo;
let browser;

before(async () => {
  const withPool = (config) => config.replace("\nservices = [", `\nservices = ["${parent}/mail", `);
  demo = await restartWith(await startDemo(), withPool, { anew: true });
  const made = await fetch(`${demo.sandbox}/v2/${parent}?workerPoolId=mail`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ template: { containers: [{ image: image("1") }] }, scaling: { manualInstanceCount: 2 } }),
  });
  assert.equal(made.status, 200, await made.text());
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

test("a worker pool is read, signed and told as it runs", async () => {
  const person = await openPerson(browser);
  const { page } = person;
  await signIn(demo, person, "alice", "/keys");
  await registerKey(demo, person, "alice");
  const approval = await ask(demo, {
    subject: { kind: "deployment", service: `${parent}/mail`, image: image("2"), steps: [25, 100] },
    reason: "Sends letters as well",
    title: "mail 3.0",
    body: undefined,
    links: undefined,
  });
  await page.goto(approval.url);
  await page.getByRole("heading", { name: "Deploy a new image of mail to production" }).waitFor();
  const main = page.getByRole("main");
  await main.getByText("New revision, without instances").waitFor();
  await main.getByText(`${parent}/mail`, { exact: true }).waitFor();
  await picture(page, "worker-pool-pending");
  await assertAccessible(page);
  await assertNarrow(page);
  await page.getByRole("button", { name: /^approve/i }).click();
  const outcome = await ended(demo, approval.id);
  assert.equal(outcome.status, "succeeded", outcome.status_sentence);
  await main.getByText(/with 100 % of the instances, exactly as signed/).first().waitFor({ timeout: 15_000 });
  assert.equal(await main.getByText("Address", { exact: true }).count(), 0);
  await picture(page, "worker-pool-succeeded");
  await assertAccessible(page);
  await assertNarrow(page);
  await page.goto(`${demo.gate}/environments`);
  await page.getByText("worker pool, demo, europe-west1").first().waitFor();
  await picture(page, "worker-pool-environments");
  assert.deepEqual(person.problems, []);
});

// A job of Cloud Run: what would change is read and signed, and the page tells what became of its execution.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, assertAccessible, assertNarrow, ended, openBrowser, openPerson, picture, registerKey, restartWith, signIn, startDemo } from "./support.mjs";

const job = "projects/demo/locations/europe-west1/jobs/migrate";

let demo;
let browser;

before(async () => {
  const withJobs = (config) => config.replace("\nimages = ", `\njobs = ["${job}"]\nimages = `);
  demo = await restartWith(await startDemo(), withJobs, { anew: true });
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

test("a job is read, signed and told as it ran", async () => {
  const person = await openPerson(browser);
  const { page } = person;
  await signIn(demo, person, "alice", "/keys");
  await registerKey(demo, person, "alice");
  const approval = await ask(demo, {
    subject: {
      kind: "job_execution",
      job,
      image: `europe-docker.pkg.dev/demo/app/web@sha256:${"c".repeat(64)}`,
      template: { taskCount: 3, template: { containers: [{ args: ["--all"] }] } },
    },
    reason: "Adds the column that the checkout needs",
    title: "Migration 42",
    body: undefined,
    links: undefined,
  });
  await page.goto(approval.url);
  await page.getByRole("heading", { name: "Run migrate with a new image once in production" }).waitFor();
  const main = page.getByRole("main");
  await main.getByText(/What ran is not taken back/).waitFor();
  await main.getByText("Your approval is the last that is needed: the job starts right after it, by itself.").waitFor();
  await picture(page, "job-pending");
  await assertAccessible(page);
  await assertNarrow(page);
  await page.getByRole("button", { name: /^approve/i }).click();
  const outcome = await ended(demo, approval.id);
  assert.equal(outcome.status, "succeeded", outcome.status_sentence);
  await main.getByText(/It ran once, exactly as signed/).first().waitFor({ timeout: 15_000 });
  await main.getByText("3 of 3 tasks succeeded", { exact: true }).waitFor();
  await picture(page, "job-succeeded");
  await assertAccessible(page);
  await assertNarrow(page);
  assert.deepEqual(person.problems, []);
});

test("an update of a job says that nothing runs", async () => {
  const person = await openPerson(browser);
  const { page } = person;
  await signIn(demo, person, "bob", "/keys");
  await registerKey(demo, person, "bob");
  const approval = await ask(demo, {
    subject: { kind: "job_execution", job, image: `europe-docker.pkg.dev/demo/app/web@sha256:${"d".repeat(64)}`, run: false },
    reason: "The nightly run is to have the fix",
    title: "Fix for the nightly run",
    body: undefined,
    links: undefined,
  });
  await page.goto(approval.url);
  await page.getByRole("heading", { name: "Update migrate with a new image in production, and run nothing" }).waitFor();
  const main = page.getByRole("main");
  await main.getByText("The gate updates the job, and runs nothing.").waitFor();
  await picture(page, "job-update-pending");
  await assertAccessible(page);
  await assertNarrow(page);
  await page.getByRole("button", { name: /^approve/i }).click();
  const outcome = await ended(demo, approval.id);
  assert.equal(outcome.status, "succeeded", outcome.status_sentence);
  assert.equal(outcome.execution, undefined);
  await main.getByText(/exactly what was signed, and nothing ran/).first().waitFor({ timeout: 15_000 });
  await picture(page, "job-update-succeeded");
  await assertAccessible(page);
  await assertNarrow(page);
  assert.deepEqual(person.problems, []);
});

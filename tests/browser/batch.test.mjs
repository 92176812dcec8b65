// Three deployments, one page, one touch of a key.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  ask, assertAccessible, assertNarrow, ended, openBrowser, openPerson, picture, read, registerKey, restartWith, signIn, startDemo,
} from "./support.mjs";

const service = (name) => `projects/demo/locations/europe-west1/services/${name}`;

let demo;
let browser;

/** A third service beside the two of the demo. */
before(async () => {
  demo = await restartWith(await startDemo(), (config) => config.replace("services = [", `services = ["${service("worker")}", `), { anew: true });
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

let batches = 0;

const CHANGES = {
  web: { title: "web 4.2: express checkout", env: "CHECKOUT_URL", value: "https://checkout.example.com/v2" },
  api: { title: "api 2.0: the first one", env: "DATABASE", value: "orders" },
  worker: { title: "worker 1.7: fewer retries", env: "RETRIES", value: "3" },
};

/** One of a batch, as a job of a matrix asks for it. */
function member(name, batch) {
  const { title, env, value } = CHANGES[name];
  return ask(demo, {
    subject: {
      kind: "deployment",
      service: service(name),
      image: `europe-docker.pkg.dev/demo/app/web@sha256:${"0".repeat(62)}${name.length}${batches}`,
      template: { containers: [{ env: [{ name: env, value }] }] },
    },
    title,
    reason: "Part of release 4.2, which the shop waits for",
    batch,
    batch_size: 3,
  });
}

async function approver(name) {
  const person = await openPerson(browser);
  await signIn(demo, person, name, "/keys");
  await registerKey(demo, person, name);
  return person;
}

/** How many times the key was touched. */
async function touches({ devtools, authenticatorId }) {
  const { credentials } = await devtools.send("WebAuthn.getCredentials", { authenticatorId });
  return credentials[0].signCount;
}

test("three deployments are read on one page and approved with one touch", async () => {
  batches += 1;
  const alice = await approver("alice");
  const { page } = alice;
  const asked = [await member("web", "release 4.2"), await member("api", "release 4.2")];
  await page.goto(asked[0].url);
  await page.getByRole("link", { name: /read all of them and sign once/i }).click();
  await page.getByText("2 of 3 have asked").waitFor();
  await page.getByText("Do not wait: sign the 2 that have asked").waitFor();
  await picture(page, "batch-arriving");
  await assertAccessible(page);
  // The page follows what happens.
  asked.push(await member("worker", "release 4.2"));
  await page.getByRole("button", { name: "Approve all 3" }).waitFor();
  await page.getByRole("heading", { name: /^3 deployments were asked for together/ }).waitFor();
  for (const { short_code: code } of asked) assert.ok((await page.getByText(code).count()) >= 2, code);
  await picture(page, "batch");
  await assertAccessible(page);
  await assertNarrow(page);

  const before = await touches(alice);
  await page.locator("#approve:enabled").click();
  for (const { id } of asked) assert.equal((await ended(demo, id)).status, "succeeded");
  assert.equal(await touches(alice), before + 1, "one touch");
  const digests = new Set();
  for (const { id } of asked) {
    const { decisions } = await read(demo, id);
    assert.equal(decisions.length, 1);
    digests.add(decisions[0].statement_digest);
  }
  await page.locator(".chip", { hasText: "Succeeded" }).nth(2).waitFor();
  await page.getByText("None of these waits for your signature").waitFor();
  await picture(page, "batch-succeeded");
  await assertAccessible(page);
  assert.deepEqual(alice.problems, []);
  await alice.context.close();
});

test("all are rejected with one reason, and the inbox leads there", async () => {
  batches += 1;
  const alice = await approver("alice");
  const { page } = alice;
  const asked = [];
  for (const name of Object.keys(CHANGES)) asked.push(await member(name, "release 4.3"));
  await page.goto(demo.gate);
  await picture(page, "inbox-batch");
  await assertAccessible(page);
  await page.getByRole("link", { name: /the 2 others of its batch/ }).first().click();
  await page.getByText("Reject all 3…").click();
  await page.getByRole("textbox", { name: /why/i }).fill("Not before the inventory is over");
  await page.getByRole("button", { name: /sign the rejection of all 3/i }).click();
  await page.locator(".chip", { hasText: "Rejected" }).nth(2).waitFor();
  for (const { id } of asked) {
    const approval = await read(demo, id);
    assert.equal(approval.status, "rejected");
    assert.equal(approval.decisions[0].reason, "Not before the inventory is over");
  }
  assert.deepEqual(alice.problems, []);
  await alice.context.close();
});

test("what changed in between is said by name, and nothing is signed", async () => {
  batches += 1;
  const alice = await approver("alice");
  const { page } = alice;
  const asked = [];
  for (const name of Object.keys(CHANGES)) asked.push(await member(name, "release 4.4"));
  await page.goto(`${asked[0].url}/batch`);
  await page.locator("#approve:enabled").waitFor();
  // The page holds still while somebody types.
  await page.getByText("Reject all 3…").click();
  await page.getByRole("textbox", { name: /why/i }).fill("x");
  const other = await approver("bob");
  await other.page.goto(asked[1].url);
  await other.page.getByRole("button", { name: /^approve/i }).click();
  await other.page.locator("#status", { hasText: "Succeeded" }).waitFor();
  await page.getByText("This page is out of date").waitFor();
  await page.locator("#approve:enabled").click();
  await page.getByText(/nothing was signed, because of api in production/i).waitFor();
  await page.getByText(/already succeeded/).waitFor();
  assert.deepEqual((await read(demo, asked[0].id)).decisions, []);
  await other.context.close();
  await alice.context.close();
});

test("the page signs nothing but what it shows", async () => {
  batches += 1;
  const alice = await approver("alice");
  const { page } = alice;
  const asked = [];
  for (const name of Object.keys(CHANGES)) asked.push(await member(name, "release 4.5"));
  for (const change of [
    // A word of one deployment, one deployment hidden from the reader, and two that changed places.
    () => document.querySelector("#bytes-2 .canonical").append(" "),
    () => document.querySelector("#bytes-3 .canonical").replaceChildren("{}"),
    () => {
      const [first, second] = document.querySelectorAll("article.member");
      const bytes = [first, second].map((member) => member.querySelector(".canonical"));
      const text = bytes[0].innerHTML;
      bytes[0].innerHTML = bytes[1].innerHTML;
      bytes[1].innerHTML = text;
    },
  ]) {
    await page.goto(`${asked[0].url}/batch`);
    await page.locator("#approve:enabled").waitFor();
    await page.evaluate(change);
    await page.locator("#approve:enabled").click();
    await page.getByText(/nothing was signed/i).waitFor();
  }
  for (const { id } of asked) assert.deepEqual((await read(demo, id)).decisions, []);
  await alice.context.close();
});

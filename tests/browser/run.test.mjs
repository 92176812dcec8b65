// A run of GitHub Actions that posted no deployment: GitHub's webhook, the page, a key, and the answer to GitHub.

import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import {
  assertAccessible, assertNarrow, openBrowser, openPerson, picture, registerKey, restartWith, signIn, startDemo,
} from "./support.mjs";

const SECRET = "a secret of at least thirty-two characters";
const RUN = 700100;
const key = generateKeyPairSync("rsa", { modulusLength: 2048 });
let demo, browser;

const APP = `[github.app]
id = 77
private_key_file = "app.pem"
webhook_secret_file = "webhook-secret"
[[github.app.installation]]
id = 4200
repositories = [1001]

[audit]`;
const RUNS = `workflow_runs = [{ repository_id = "1001", branch = "main", event = "push" }]
github_accounts = { 9002 = "u-bob" }
actions = [`;

before(async () => {
  const first = await startDemo();
  const keep = (name, text) => writeFile(path.join(first.data_dir, name), text);
  await keep("app.pem", key.privateKey.export({ type: "pkcs8", format: "pem" }));
  await keep("webhook-secret", SECRET);
  demo = await restartWith(first, (config) => config.replace("[audit]", APP).replace("actions = [", RUNS), { anew: true });
  const publicKey = key.publicKey.export({ type: "pkcs1", format: "der" }).toString("base64");
  await lever("app", { id: 77, public_key: publicKey, installation: 4200, repositories: [1001] });
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

async function lever(name, body) {
  const answer = await fetch(`${demo.sandbox}/_sandbox/github/${name}`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });
  assert.equal(answer.status, 204, name);
}

const atGitHub = async () => (await fetch(`${demo.sandbox}/_sandbox/github`)).json();
const answers = async () => (await atGitHub()).runs.flatMap((run) => run.answers);

async function until(what, holds) {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const found = await holds();
    if (found) return found;
    assert.ok(performance.now() < deadline, `${what}\n${demo.log()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Has an attempt of the run wait at production, as GitHub tells the gate; gives the approval's id when people are asked. */
async function waits(attempt, members = {}) {
  const { check_runs: earlier } = await atGitHub();
  await lever("runs", { repository: 1001, id: RUN, waiting: ["production"], members: { run_attempt: attempt, ...members } });
  const example = JSON.parse(await readFile(new URL("../data/github-deployment-protection-rule.json", import.meta.url)));
  example.deployment.id += attempt;
  const body = JSON.stringify(example);
  const answer = await fetch(`${demo.gate}/v1/github/webhooks`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "x-github-event": "deployment_protection_rule",
      "x-github-delivery": `0b989ba4-242f-11e5-81e1-00000000000${attempt}`,
      "x-hub-signature-256": `sha256=${createHmac("sha256", SECRET).update(body).digest("hex")}`,
    },
    body,
  });
  assert.equal(answer.status, 202);
  return until("people are asked", async () => (await atGitHub()).check_runs[earlier.length]?.value.external_id);
}

test("a run that posted no deployment is read, signed, and goes on", async () => {
  const person = await openPerson(browser);
  await signIn(demo, person, "alice", "/keys");
  await registerKey(demo, person, "alice");
  const id = await waits(1);
  const { page } = person;
  await page.goto(`${demo.gate}/`);
  await picture(page, "run-inbox");
  await page.getByRole("link", { name: /run of deploy\.yml in demo\/web/i }).first().click();
  await page.waitForURL(`${demo.gate}/approvals/${id}`);
  const main = page.getByRole("main");
  for (const fact of ["the gate’s own statement", ".github/workflows/deploy.yml@main", "erin", "Send the checkout's address form once"]) {
    await main.getByText(fact, { exact: false }).filter({ visible: true }).first().waitFor();
  }
  await picture(page, "run");
  await assertAccessible(page);
  await assertNarrow(page);
  await page.getByRole("button", { name: /^approve/i }).click();
  const [answer] = await until("GitHub is answered", async () => (await answers()).length > 0 && answers());
  assert.equal(answer.state, "approved");
  assert.match(answer.comment, /approved by Alice/);
  await main.getByText(/GitHub is told to let the run on/).first().waitFor({ timeout: 15_000 });
  await picture(page, "run-let-on");
  assert.deepEqual(person.problems, []);
  await person.context.close();
});

test("a run that is started again says so, and whoever started it cannot sign", async () => {
  const id = await waits(2, { triggering_actor: { id: 9002, login: "bob-at-github" } });
  const bob = await openPerson(browser);
  await signIn(demo, bob, "bob", "/keys");
  await registerKey(demo, bob, "bob");
  const { page } = bob;
  await page.goto(`${demo.gate}/approvals/${id}`);
  await page.getByText(/started again: attempt 2/).waitFor();
  await page.getByText(/which is u-bob: counts as the requester/).waitFor();
  assert.equal(await page.getByRole("button", { name: /^approve/i }).count(), 0);
  await picture(page, "run-again");
  await assertAccessible(page);
  assert.equal((await answers()).length, 1);
  assert.deepEqual(bob.problems, []);
  await bob.context.close();
});

// The whole story: a workflow that uses the step asks, a person signs, Cloud Run serves it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { gateOfDemo } from "../action/gate_under_test.mjs";
import { idIn, runWorkflow } from "../action/workflow.mjs";
import { openBrowser, openPerson, read, registerKey, signIn, startDemo } from "./support.mjs";

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

test("a workflow waits until a person has signed, and hands on what is served", async () => {
  const person = await openPerson(browser);
  await signIn(demo, person, "alice", "/keys");
  await registerKey(demo, person, "alice");
  const { page } = person;
  let id;
  const signing = Promise.withResolvers();
  const sign = async () => {
    await page.goto(`${demo.gate}/approvals/${id}`);
    await page.getByRole("button", { name: /^approve/i }).click();
  };
  const { code, log, outputs, outcome } = await runWorkflow(gateOfDemo(demo), "wait", (line) => {
    if (id !== undefined) return;
    id = idIn(line);
    if (id !== undefined) sign().then(signing.resolve, signing.reject);
  });
  assert.notEqual(id, undefined, log);
  await signing.promise;
  assert.equal(code, 0, log);
  assert.equal(outcome, "success");
  assert.equal(outputs.status, "succeeded");
  assert.equal(outputs["approval-id"], id);
  for (const name of ["url", "deployment-digest", "service-url", "decided-by", "decided-at", "evidence"]) {
    assert.ok(outputs[name], `${name} is set`);
  }
  const { rollout } = await read(demo, id);
  assert.deepEqual(JSON.parse(outputs.traffic), rollout.traffic);
  assert.equal(outputs.revision, rollout.revision);
});

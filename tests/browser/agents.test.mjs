// An approver issues a credential for an agent, which asks with it; somebody else has to approve.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  assertAccessible, assertNarrow, openBrowser, openPerson, picture, registerKey, restartWith, signIn, startDemo,
} from "./support.mjs";

const IMAGE = `europe-docker.pkg.dev/demo/app/web@sha256:${"7".repeat(64)}`;

let demo;
let browser;

before(async () => {
  demo = await startDemo();
  browser = await openBrowser();
  demo = await restartWith(demo, (config) =>
    config.replace("requesters = [", 'requesters = [\n    { issuer = "agent-credential" },'), { anew: true });
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** Calls a tool of the gate's MCP server with this credential. */
async function call(credential, name, args) {
  const answer = await fetch(`${demo.gate}/mcp`, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${credential}`,
      Accept: "application/json, text/event-stream",
      "Content-Type": "application/json",
      "MCP-Protocol-Version": "2025-11-25",
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: args } }),
  });
  return { status: answer.status, body: await answer.json() };
}

test("a credential is issued by a key, shown once, asked with and revoked", async () => {
  const alice = await openPerson(browser);
  await signIn(demo, alice, "alice", "/keys");
  await registerKey(demo, alice, "alice");
  const { page } = alice;
  await page.getByRole("link", { name: /credentials of agents/i }).click();
  await page.getByText(/nobody has issued a credential/i).waitFor();
  await page.getByLabel(/name of the agent/i).fill("Release assistant");
  await page.getByRole("button", { name: /sign and issue/i }).click();
  await page.getByText("The credential is issued.").waitFor();
  const credential = await page.locator("#secret").textContent();
  assert.match(credential, /^csa_\d+_[\w-]{43}$/);
  await picture(page, "agent-credential-issued");
  await assertAccessible(page);
  await assertNarrow(page);

  const asked = await call(credential, "request_deployment", {
    environment: "production",
    service: "projects/demo/locations/europe-west1/services/web",
    image: IMAGE,
    reason: "The agent asks with its own credential",
  });
  const { url } = asked.body.result.structuredContent.approval;
  await page.goto(url);
  await page.getByText(/this was asked for on your behalf/i).waitFor();
  assert.equal(await page.getByRole("button", { name: /^approve/i }).count(), 0);

  await page.goto(`${demo.gate}/agents`);
  await page.getByRole("heading", { name: /release assistant/i }).waitFor();
  assert.ok(!(await page.content()).includes(credential), "it is shown once");
  await picture(page, "agent-credentials");
  await assertAccessible(page);
  await page.getByText("Revoke…").click();
  await page.getByRole("button", { name: /revoke this credential/i }).click();
  await page.getByText(/the credential is revoked/i).waitFor();
  const refused = await call(credential, "list_environments", {});
  assert.equal(refused.status, 401);
  assert.equal(refused.body.type, "urn:countersign:problem:agent_credential_revoked");
  assert.deepEqual(alice.problems, []);
});

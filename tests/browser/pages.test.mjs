// What holds on every page, and what happens when signing does not go as planned.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  ask, assertAccessible, assertNarrow, ended, openBrowser, openPerson, read, registerKey, signIn, startDemo, token,
} from "./support.mjs";

let demo;
let browser;
let alice;

before(async () => {
  demo = await startDemo();
  browser = await openBrowser();
  alice = await openPerson(browser, { reducedMotion: "reduce" });
  await signIn(demo, alice, "alice", "/keys");
  await registerKey(demo, alice, "alice");
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

const HOSTILE =
  "</title><script>document.title = 'taken'</script><img src=x onerror=alert(1)> \u202eevil\u202c a\u200bb " + "x".repeat(90);

/** Opens Alice's page of a new request. */
async function openNew(changes) {
  const approval = await ask(demo, changes);
  await alice.page.goto(approval.url);
  return approval;
}

async function cancel(id) {
  const headers = { authorization: `Bearer ${await token(demo)}`, "content-type": "application/json" };
  const answer = await fetch(`${demo.gate}/v1/approvals/${id}/cancel`, { method: "POST", headers, body: "{}" });
  assert.equal(answer.status, 200);
}

const approveButton = () => alice.page.getByRole("button", { name: /^approve/i });
const message = () => alice.page.locator("#message");

/** Opens the rejection and writes why. */
async function writeReason(words) {
  await alice.page.getByText(/^reject/i).first().click();
  await alice.page.getByRole("textbox").fill(words);
}

test("every page is accessible in light and dark, fits a narrow phone, and breaks no rule of the browser", async () => {
  const hostile = await ask(demo, {
    title: HOSTILE,
    reason: HOSTILE,
    body: `${HOSTILE}\n`.repeat(60),
    links: [{ title: HOSTILE, url: `https://example.com/${"x".repeat(300)}` }],
  });
  const stranger = await openPerson(browser, { reducedMotion: "reduce" });
  const bob = await openPerson(browser, { reducedMotion: "reduce" });
  await signIn(demo, bob, "bob", "/keys");
  const erin = await openPerson(browser, { reducedMotion: "reduce" });
  await signIn(demo, erin, "erin", "/audit");
  const visits = [
    [stranger, "/"],
    [stranger, "/signed-out"],
    [stranger, "/nothing-here"],
    [stranger, "/sign-in/callback?code=x&state=y"],
    [stranger, `/approvals/${hostile.id}`],
    [bob, "/keys"],
    [bob, "/"],
    [bob, `/approvals/${hostile.id}`],
    [alice, "/keys"],
    [alice, "/"],
    [alice, "/audit"],
    [alice, "/audit?who=u-alice&kind=person.signed_in&from=2026-01-01"],
    [alice, "/audit?service=nowhere"],
    [alice, "/audit?from=yesterday"],
    [erin, "/audit"],
    [alice, "/approvals/apr_unknown"],
    [alice, `/approvals/${hostile.id}`],
  ];
  for (const [{ page }, path] of visits) {
    await page.goto(demo.gate + path);
    // With everything unfolded, the pages hold the most that can be wrong.
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
    await assertNarrow(page);
    await assertAccessible(page);
    assert.notEqual(await page.title(), "taken");
  }
  for (const person of [stranger, bob, erin, alice]) assert.deepEqual(person.problems, []);
  await erin.context.close();
  await stranger.context.close();
  await bob.context.close();
  await cancel(hostile.id);
});

test("a decision needs the keyboard only, and the focus can always be seen", async () => {
  const approval = await openNew();
  const { page } = alice;
  await page.keyboard.press("Tab");
  assert.match(await page.evaluate(() => document.activeElement.textContent), /^skip to/i);
  await page.keyboard.press("Enter");
  let focused = "";
  for (let steps = 0; focused !== "approve" && steps < 40; steps += 1) {
    await page.keyboard.press("Tab");
    focused = await page.evaluate(() => document.activeElement.id);
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, "solid", `${focused} shows its focus`);
  }
  assert.equal(focused, "approve");
  await page.keyboard.press("Enter");
  assert.equal((await ended(demo, approval.id)).status, "succeeded");
  await page.locator("main[data-status=succeeded]").waitFor();
  // The button is gone; the focus is not lost with it.
  assert.equal(await page.evaluate(() => document.activeElement.id), "decision");
});

test("two clicks are one signature", async () => {
  const approval = await openNew();
  let statements = 0;
  alice.page.on("request", (request) => {
    if (request.url().endsWith("/statements")) statements += 1;
  });
  await approveButton().dblclick();
  const outcome = await ended(demo, approval.id);
  assert.equal(outcome.status, "succeeded");
  assert.equal(statements, 1);
  assert.equal(outcome.decisions.length, 1);
});

test("a request that ends under the reader is said so, and what was typed stays", async () => {
  const approval = await openNew();
  await writeReason("Not before Monday");
  await cancel(approval.id);
  await alice.page.getByText(/out of date/i).waitFor();
  await alice.page.getByRole("button", { name: /sign the rejection/i }).click();
  await message().filter({ hasText: /cancelled/i }).waitFor();
  assert.equal(await alice.page.getByRole("textbox").inputValue(), "Not before Monday");
  await alice.page.getByRole("button", { name: /show what is new/i }).click();
  await alice.page.locator("main[data-status=cancelled]").waitFor();
  assert.equal((await read(demo, approval.id)).decisions.length, 0);
});

test("a statement that the gate no longer knows is said so, and the next click signs", async () => {
  const approval = await openNew();
  await alice.page.route("**/decisions", (route) => {
    const body = { ...route.request().postDataJSON(), nonce: "A".repeat(43) };
    return route.continue({ postData: JSON.stringify(body) });
  }, { times: 1 });
  await approveButton().click();
  await message().filter({ hasText: /out of date/i }).waitFor();
  assert.equal((await read(demo, approval.id)).status, "pending");
  assert.equal(await alice.page.evaluate(() => document.activeElement.id), "approve");
  await approveButton().click();
  assert.equal((await ended(demo, approval.id)).status, "succeeded");
});

test("a session that ends loses nothing that was typed", async () => {
  const person = await openPerson(browser);
  const approval = await ask(demo);
  await signIn(demo, person, "alice", `/approvals/${approval.id}`);
  await person.page.getByText(/^reject/i).first().click();
  await person.page.getByRole("textbox").fill("The migration is not reviewed yet");
  await person.context.clearCookies({ name: /session/ });
  await person.page.getByRole("button", { name: /sign the rejection/i }).click();
  await person.page.locator("#message").filter({ hasText: /session is over/i }).waitFor();
  await person.page.locator("#message").getByRole("link", { name: /sign in again/i }).click();
  await person.page.getByRole("button", { name: /alice/i }).click();
  await person.page.waitForURL(approval.url);
  assert.equal(await person.page.getByRole("textbox").inputValue(), "The migration is not reviewed yet");
  await cancel(approval.id);
  await person.context.close();
});

test("a browser without WebAuthn is told before anything is pressed", async () => {
  const approval = await ask(demo);
  const page = await alice.context.newPage();
  await page.addInitScript(() => delete window.PublicKeyCredential);
  await page.goto(approval.url);
  await page.getByText(/cannot use security keys or passkeys/i).waitFor();
  assert.ok(await page.getByRole("button", { name: /^approve/i }).isDisabled());
  await page.close();
  await cancel(approval.id);
});

// People sign in at an OpenID provider that nobody here wrote (npm oidc-provider, certified and strict): with signed
// groups and with groups from userinfo, over a change of its keys, and over its outage.

import assert from "node:assert/strict";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import Provider from "oidc-provider";
import {
  ask, ended, openBrowser, openPerson, picture, read, restartWith, revokeKeysOfOtherProfiles, startDemo,
} from "./support.mjs";

const SECRET = "the-sandbox-has-no-secrets";
const GROUPS = { alice: ["release-managers"], dan: ["engineering"] };

/** The provider, at one address for good; `signsGroups` says whether its ID tokens hold them. */
async function startDirectory(gate, { signsGroups }) {
  let server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  const issuer = `http://localhost:${port}`;
  let keys = [];
  const addKey = () => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    keys = [{ ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: randomUUID() }];
  };
  const start = async () => {
    const provider = new Provider(issuer, {
      clients: [{
        client_id: "countersign",
        client_secret: SECRET,
        redirect_uris: [`${gate}/sign-in/callback`],
        grant_types: ["authorization_code"],
        response_types: ["code"],
      }],
      jwks: { keys },
      cookies: { keys: ["a key of this test"] },
      scopes: ["openid", "profile", "email", "groups"],
      claims: { openid: ["sub"], profile: ["name"], email: ["email", "email_verified"], groups: ["groups"] },
      // The usual is that claims of scopes stand in userinfo alone (OpenID Connect Core 1.0, section 5.4).
      conformIdTokenClaims: !signsGroups,
      pkce: { required: () => true },
      findAccount: (_, login) => ({
        accountId: login,
        claims: () => ({
          sub: login, name: `${login} of the directory`, email: `${login}@example.com`, email_verified: true,
          groups: GROUPS[login] ?? [],
        }),
      }),
      // Nobody is asked what the gate may know.
      loadExistingGrant: async (context) => {
        const { client, session, provider: own } = context.oidc;
        const grant = new own.Grant({ clientId: client.clientId, accountId: session.accountId });
        grant.addOIDCScope("openid profile email groups");
        await grant.save();
        return grant;
      },
    });
    server.close();
    server = createServer(provider.callback());
    await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  };
  const stop = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  addKey();
  await start();
  return {
    issuer,
    stop,
    start,
    /** Other keys and no longer the ones before. */
    rotate: async () => {
      await stop();
      addKey();
      await start();
    },
  };
}

let browser;

before(async () => {
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
});

/** A gate whose people are in that directory. */
async function startGate(options, more = "") {
  const first = await startDemo();
  const directory = await startDirectory(first.gate, options);
  const demo = await restartWith(first, (config) => config
    .replace(/issuer = ".*\/identity"/, `issuer = "${directory.issuer}"${more}`)
    .replace(/login_keys = \[.*?\]/, "login_keys = []"), { anew: true });
  const world = { demo, directory };
  // The gate as it is then: a test may have started another in its place.
  world.stop = async () => {
    await world.demo.stop();
    await directory.stop();
  };
  return world;
}

/** Goes to a page, and through the provider's own page where that is shown. */
async function signIn({ demo, directory }, { page }, login, pathname) {
  await page.goto(`${demo.gate}/sign-in?return_to=${pathname}`);
  await atDirectory({ demo, directory }, page, login);
}

async function atDirectory({ demo, directory }, page, login) {
  await page.waitForURL((url) => url.href.startsWith(directory.issuer) || url.href.startsWith(demo.gate));
  if (page.url().startsWith(directory.issuer)) {
    await page.locator("input[name=login]").fill(login);
    await page.locator("input[name=password]").fill("any");
    await page.getByRole("button").first().click();
  }
  await page.waitForURL((url) => url.href.startsWith(demo.gate));
}

async function approver(world, login) {
  const person = await openPerson(browser);
  const { page } = person;
  await signIn(world, person, login, "/keys");
  await revokeKeysOfOtherProfiles(page);
  await page.getByLabel(/name/i).first().fill("Desk key");
  await page.getByRole("button", { name: /register/i }).click();
  // A key is vouched for by a sign-in that happens for it.
  await page.waitForURL((url) => url.href.startsWith(world.directory.issuer));
  await atDirectory(world, page, login);
  await page.waitForURL(/\/keys/);
  return person;
}

async function evidence(demo, id) {
  const approval = await read(demo, id);
  assert.equal(approval.status, "succeeded");
  const token = await (await fetch(demo.tokens, { method: "POST" })).json();
  const answer = await fetch(`${demo.gate}/v1/approvals/${id}/evidence`, { headers: { authorization: `Bearer ${token.token}` } });
  return answer.json();
}

test("signed groups, a change of keys, and an outage", async () => {
  const world = await startGate({ signsGroups: true });
  try {
    const { demo, directory } = world;
    const alice = await approver(world, "alice");
    const approve = async (person) => {
      const approval = await ask(demo);
      await person.page.goto(approval.url);
      await person.page.getByRole("button", { name: /^approve/i }).click();
      assert.equal((await ended(demo, approval.id)).status, "succeeded");
      return approval.id;
    };
    const first = await evidence(demo, await approve(alice));
    assert.equal(first.decisions[0].sign_in.gate_groups, undefined, "the directory signed them");

    // Somebody of the same directory who is in no group that signs.
    const dan = await openPerson(browser);
    await signIn(world, dan, "dan", "/");
    const waiting = await ask(demo);
    await dan.page.goto(waiting.url);
    await dan.page.getByText("Nothing to see here").waitFor();

    // Other keys: the next sign-in finds them, and what was signed under the old ones still verifies.
    await directory.rotate();
    const again = await approver(world, "alice");
    const second = await evidence(demo, await approve(again));
    assert.notEqual(second.decisions[0].sign_in.key, first.decisions[0].sign_in.key);

    // Down: nobody signs in, and whoever is in goes on.
    await directory.stop();
    const late = await openPerson(browser);
    await late.page.goto(`${demo.gate}/sign-in?return_to=/`).catch(() => undefined);
    // The gate knows the provider's addresses and sends people there; what they bring back it cannot redeem.
    const callback = await fetch(`${demo.gate}/sign-in/callback?code=x&state=y`, { redirect: "manual" });
    assert.equal(callback.status, 400);
    await approve(again);
    await directory.start();
    await signIn(world, late, "alice", "/");
    await late.page.getByText(/waits|waiting/i).first().waitFor();
    for (const person of [alice, dan, again]) assert.deepEqual(person.problems, []);
  } finally {
    await world.stop();
  }
});

test("a start while the directory is down, which then comes up", async () => {
  const world = await startGate({ signsGroups: true });
  try {
    await world.directory.stop();
    world.demo = await restartWith(world.demo, (config) => config);
    const answer = await fetch(`${world.demo.gate}/sign-in?return_to=/`, { redirect: "manual" });
    assert.equal(answer.status, 503);
    assert.match(await answer.text(), /cannot be reached at the moment/);
    await world.directory.start();
    const person = await openPerson(browser);
    // The gate asks again after five seconds.
    await new Promise((resolve) => setTimeout(resolve, 5_500));
    await signIn(world, person, "alice", "/keys");
    await person.page.getByRole("button", { name: /register/i }).waitFor();
  } finally {
    await world.stop();
  }
});

test("groups that stand in userinfo alone are the gate's own word", async () => {
  const world = await startGate({ signsGroups: false }, '\ngroups_from = "userinfo"');
  try {
    const alice = await approver(world, "alice");
    const approval = await ask(world.demo);
    await alice.page.goto(approval.url);
    await alice.page.getByText("are the gate's own word").waitFor();
    await picture(alice.page, "gate-groups");
    await alice.page.getByRole("button", { name: /^approve/i }).click();
    assert.equal((await ended(world.demo, approval.id)).status, "succeeded");
    const proof = await evidence(world.demo, approval.id);
    assert.deepEqual(proof.decisions[0].sign_in.gate_groups, ["release-managers"]);
    assert.deepEqual(alice.problems, []);
  } finally {
    await world.stop();
  }
});

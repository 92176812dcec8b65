// A runner whose clock is wrong, or is set while a step waits, asks and waits as any other: the steps count
// with a clock that nobody sets, and what the time is, the gate alone says.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { FakeGate, problem, send } from './fake_gate.mjs';
import { runPost, runStep, startStep, until } from './step.mjs';

let gate;
beforeEach(async () => { gate = await FakeGate.start(); });
afterEach(() => gate.stop());

const DAY = 24 * 3_600_000;

/** The environment of a process whose clock shows `shown(true time)`, a text of JavaScript. */
function clock(shown) {
  const code = `const real = Date.now; const shown = ${shown};
    Date.now = () => shown(real());
    globalThis.Date = class extends Date { constructor(...given) { super(...(given.length > 0 ? given : [shown(real())])); } };`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` };
}

const CLOCKS = {
  'a day ahead': clock(`(now) => now + ${DAY}`),
  'a day behind': clock(`(now) => now - ${DAY}`),
  'set again and again': clock(`(now) => now + (Math.floor(now / 300) % 2 === 0 ? ${DAY} : -${DAY})`),
};

for (const [what, environment] of Object.entries(CLOCKS)) {
  test(`a clock that is ${what} changes nothing about a wait`, async () => {
    const running = startStep(gate, { environment, inputs: { timeout: '10m' } });
    await until(() => gate.polls().length >= 3);
    gate.approve(gate.approval.id);
    gate.succeed(gate.approval.id);
    const step = await running.finished;
    assert.equal(step.code, 0, step.stdout + step.stderr);
    assert.equal(step.outputs.status, 'succeeded');
    assert.equal(step.outputs['decided-at'], '2026-11-24T05:00:00Z', 'as the gate says it');
  });

  test(`a clock that is ${what} neither shortens nor lengthens a timeout`, async () => {
    const started = performance.now();
    const step = await runStep(gate, { environment, inputs: { timeout: '2s' } });
    assert.equal(step.code, 1);
    assert.ok(performance.now() - started >= 2000, step.stdout);
    assert.ok(gate.polls().length > 1, 'it waited');
    assert.match(step.stdout, /^::error title=Nobody decided in time::/m);
    assert.equal(gate.approval.status, 'cancelled');
  });
}

test('a date to ask again at counts by the clock of whoever names it', async () => {
  gate.approveEverything();
  const theirs = Date.now() + 40 * DAY;
  const at = (milliseconds) => new Date(milliseconds).toUTCString();
  const headers = { date: at(theirs), 'retry-after': at(theirs + 1000) };
  gate.fault(/^POST \/v1\/approvals$/, (response) => send(response, problem(429, 'Slow down.', headers)));
  // By the runner's clock that is in forty days, for which the longest pause is two minutes: longer than a step may take here.
  const step = await runStep(gate);
  assert.equal(step.code, 0, step.stdout + step.stderr);
  assert.equal(step.outputs.status, 'succeeded');
});

test('a gate whose clock differs from that of GitHub is asked again with another token, and then believed', async () => {
  const refused = (response) => send(response, problem(401, 'The token is not valid yet: the clocks of the gate and of its issuer differ.'));
  const read = /^GET \/v1\/approvals\/[^/]+$/;
  gate.fault(read, refused);
  gate.fault(read, refused);
  gate.approveEverything();
  const passing = await runStep(gate);
  assert.equal(passing.code, 0, passing.stdout + passing.stderr);
  const tokens = gate.polls().map(({ token }) => token);
  assert.equal(new Set(tokens).size, tokens.length, 'each time with another token');

  gate.onCreate = undefined;
  for (let times = 0; times < 3; times += 1) gate.fault(read, refused);
  const lasting = await runStep(gate, { environment: { GITHUB_RUN_ID: '100' } });
  assert.equal(lasting.code, 1);
  assert.match(lasting.stdout, /^::error [^\n]*the clocks of the gate and of its issuer differ/m);
  gate.fault(/^POST \/v1\/approvals$/, refused);
  const asking = await runStep(gate, { environment: { GITHUB_RUN_ID: '101' } });
  assert.equal(asking.code, 1);
  assert.match(asking.stdout, /^::error [^\n]*the clocks of the gate and of its issuer differ/m);
});

test('a runner that is lost with its clock and its disk leaves what another one goes on with', async () => {
  gate.longestPoll = 60_000;
  const lost = startStep(gate);
  await until(() => gate.polls().length === 1);
  lost.child.kill('SIGKILL');
  await lost.finished;
  assert.equal(gate.approval.status, 'pending', 'no post step runs on a runner that is gone');
  // The same attempt on another machine: a folder of its own, and nothing of the first.
  gate.longestPoll = 50;
  const running = startStep(gate, { environment: CLOCKS['a day behind'] });
  await until(() => gate.polls().length > 2);
  gate.approve(gate.approval.id);
  gate.succeed(gate.approval.id);
  const step = await running.finished;
  assert.equal(step.code, 0, step.stdout + step.stderr);
  assert.equal(gate.approvals.size, 1);
  const post = await runPost(gate, step);
  assert.equal(post.code, 0, post.stdout + post.stderr);
  assert.equal(gate.approval.status, 'succeeded');
});

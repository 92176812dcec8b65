// The step that waits for what another one asked for. Refusals first.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { FakeGate, problem, send } from './fake_gate.mjs';
import { runStep, startStep, until } from './step.mjs';

let gate;
beforeEach(async () => { gate = await FakeGate.start(); });
afterEach(() => gate.stop());

const errorOf = (step) => step.commands.find((line) => line.startsWith('::error '));
const ask = async () => (await runStep(gate, { inputs: { mode: 'ask' } })).outputs['approval-id'];
const inputs = (id, more = {}) => ({ action: 'wait-for-approval', inputs: { 'gate-url': gate.url, 'approval-id': id, ...more } });
const wait = (id, more) => startStep(gate, inputs(id, more));

const ID = `apr_${'a'.repeat(26)}`;
for (const [name, value, sentence] of [
  ['gate-url', '', /is missing/],
  ['gate-url', 'http://gate.example.com', /https/],
  ['approval-id', '', /is missing/],
  ['approval-id', 'apr_1', /output approval-id/],
  ['approval-id', '../../health/live', /output approval-id/],
  ['approval-id', `${ID}?wait=0`, /output approval-id/],
  ['approval-id', ID.toUpperCase(), /output approval-id/],
  ['timeout', 'soon', /6h/],
  ['timeout', '0s', /6h/],
]) {
  test(`input ${name} "${value}" is refused before anything is sent`, async () => {
    const step = await wait(ID, { [name]: value }).finished;
    assert.equal(step.code, 1);
    assert.match(errorOf(step), new RegExp(`^::error title=Input ${name}::The input ${name} `));
    assert.match(errorOf(step), sentence);
    assert.equal(gate.journal.length, 0);
  });
}

test('without the permission for tokens it says which one and asks nobody', async () => {
  const step = await runStep(gate, { ...inputs(ID), environment: { ACTIONS_ID_TOKEN_REQUEST_URL: undefined } });
  assert.equal(step.code, 1);
  assert.match(errorOf(step), /permissions: id-token: write/);
});

test('an approval that the gate does not show is no approval', async () => {
  gate.fault(/^GET \/v1/, (response) => send(response, problem(404, 'There is nothing of this name that you may see.')));
  const step = await wait(ID).finished;
  assert.equal(step.code, 1);
  assert.match(errorOf(step), /nothing of this name/);
});

for (const status of ['rejected', 'expired', 'cancelled', 'rolled_back', 'needs_attention']) {
  test(`${status} fails with the gate's sentence, also when it ended long before`, async () => {
    const id = await ask();
    gate.change(id, { status, status_sentence: `It is ${status}, because.` });
    const step = await wait(id).finished;
    assert.equal(step.code, 1);
    assert.equal(errorOf(step), `::error title=Approval ${status}::It is ${status}, because.`);
    assert.equal(step.outputs.status, status);
    assert.ok(step.summary.includes(`It is ${status}, because.`));
  });
}

for (const [what, act] of [
  ['its timeout passes', () => {}],
  ['its job is cancelled', (running) => running.child.kill('SIGINT')],
  ['its runner is lost', (running) => running.child.kill('SIGKILL')],
]) {
  test(`nothing is taken back when ${what}`, async () => {
    const id = await ask();
    gate.longestPoll = 1000;
    const running = wait(id, { timeout: '2s' });
    await until(() => gate.polls().length > 0);
    act(running);
    const step = await running.finished;
    assert.notEqual(step.code, 0);
    assert.equal(gate.approval.status, 'pending');
    assert.equal(gate.requests(`POST /v1/approvals/${id}/cancel`).length, 0);
    if (step.signal === null) assert.match(step.stdout, /^The request stays at the gate: /m);
  });
}

test('waits over polls and an outage, and reports what is served', async () => {
  const id = await ask();
  const running = wait(id);
  await until(() => gate.polls().length >= 2);
  await gate.stop();
  await new Promise((resolve) => setTimeout(resolve, 1200));
  await gate.listen(gate.port);
  gate.approve(id);
  gate.succeed(id);
  const step = await running.finished;
  assert.equal(step.code, 0, step.stdout + step.stderr);
  assert.equal(step.outputs.revision, 'web-c0ffee');
  assert.equal(step.outputs['decided-by'], 'Alice Example');
  assert.ok(step.outputs.evidence.endsWith(`${id}.evidence.json`));
  assert.match(step.stdout, /The gate answers again\./);
  const tokens = gate.journal.filter(({ path }) => path !== '/token').map(({ token }) => token);
  assert.equal(new Set(tokens).size, tokens.length, 'no token is used twice');
  assert.equal(gate.requests('POST /v1/approvals').length, 1, 'it asks for nothing itself');
});

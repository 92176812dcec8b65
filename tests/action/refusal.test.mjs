// The paths that end badly, each with a sentence that says what to do.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { FakeGate, problem, send } from './fake_gate.mjs';
import { runPost, runStep, startStep, until } from './step.mjs';

let gate;
beforeEach(async () => { gate = await FakeGate.start(); });
afterEach(() => gate.stop());

const errorOf = (step) => step.commands.find((line) => line.startsWith('::error '));

for (const [what, environment] of [
  ['the token address', { ACTIONS_ID_TOKEN_REQUEST_URL: undefined }],
  ['the request token', { ACTIONS_ID_TOKEN_REQUEST_TOKEN: undefined }],
]) {
  test(`without ${what} it names the missing permission and asks nobody`, async () => {
    const step = await runStep(gate, { environment });
    assert.equal(step.code, 1);
    assert.match(errorOf(step), /permissions: id-token: write/);
    assert.equal(gate.journal.length, 0);
  });
}

test('a refused request token is no reason to ask again', async () => {
  const step = await runStep(gate, { environment: { ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'wrong' } });
  assert.equal(step.code, 1);
  assert.equal(gate.journal.length, 1);
});

for (const status of [400, 403, 422]) {
  test(`the gate's ${status} fails at once with its own detail`, async () => {
    gate.fault(/^POST/, (response) => send(response, problem(status, 'The image must be named by digest: add @sha256:….')));
    const step = await runStep(gate);
    assert.equal(step.code, 1);
    assert.equal(errorOf(step), '::error title=Refused::The image must be named by digest: add @sha256:….');
    assert.equal(gate.requests('POST /v1/approvals').length, 1);
    assert.equal(step.state.pending, '');
    const posts = gate.journal.length;
    await runPost(gate, step);
    assert.equal(gate.journal.length, posts, 'nothing is left to cancel');
  });
}

for (const [what, body, type] of [['a page', '<h1>hello</h1>', 'text/html'], ['another document', '{"id":"../../x","status":"pending"}', 'application/json']]) {
  test(`an address that answers with ${what} is not the gate`, async () => {
    gate.fault(/^POST/, (response) => send(response, { status: 200, body, type }));
    const step = await runStep(gate);
    assert.equal(step.code, 1);
    assert.match(errorOf(step), /is gate-url the address of the gate/);
  });
}

test('a redirect is not followed, for it would carry the token away', async () => {
  gate.fault(/^POST/, (response) => send(response, { status: 307, body: '', headers: { location: `${gate.url}/elsewhere` } }));
  const step = await runStep(gate);
  assert.equal(step.code, 1);
  assert.match(errorOf(step), /redirects to .*elsewhere/);
  assert.ok(gate.journal.every(({ path }) => path !== '/elsewhere'));
});

test('a gate that never answers fails when the patience is over', async () => {
  const { url, tokenUrl } = gate;
  gate.fault(/^POST/, (response) => response.destroy());
  gate.fault(/^POST/, (response) => response.destroy());
  gate.fault(/^POST/, (response) => response.destroy());
  const step = await runStep({ url, tokenUrl }, { inputs: { timeout: '1s', mode: 'ask' } });
  assert.equal(step.code, 1);
  assert.match(errorOf(step), /title=The gate cannot be reached::.*did not answer/);
});

for (const [status, sentence] of [
  ['rejected', 'Bob rejected it: wrong week. Talk to Bob and ask again.'],
  ['expired', 'Nobody signed before it expired. Ask again when somebody can sign.'],
  ['failed', 'Cloud Run did not start the revision.'],
  ['rolled_back', 'The previous revision serves again.'],
  ['needs_attention', 'The outcome is unknown; open the page.'],
  ['superseded', 'A newer request replaced it.'],
  ['withdrawn', 'The approval was withdrawn.'],
  ['cancelled', 'It was cancelled.'],
]) {
  test(`${status} fails with the gate's own sentence`, async () => {
    const running = startStep(gate);
    await until(() => gate.approval);
    const decisions = status !== 'rejected' ? [] : [
      { approver: { name: 'Alice' }, decision: 'approve', decided_at: '2026-11-24T05:00:00Z' },
      { approver: { name: 'Bob' }, decision: 'reject', reason: 'wrong week', decided_at: '2026-11-24T05:01:00Z' },
    ];
    gate.change(gate.approval.id, { status, status_sentence: sentence, decisions });
    const step = await running.finished;
    assert.equal(step.code, 1);
    assert.equal(errorOf(step), `::error title=Approval ${status}::${sentence}`);
    assert.equal(step.outputs.status, status);
    assert.ok(step.summary.includes(sentence));
    assert.equal(step.state.pending, '');
    assert.equal(gate.requests(`POST /v1/approvals/${gate.approval.id}/cancel`).length, 0);
    if (status === 'rejected') {
      assert.equal(step.outputs['decided-by'], 'Bob');
      assert.ok(step.outputs.evidence.endsWith('.evidence.json'), 'refusals are signed too');
      assert.ok(step.summary.includes('wrong week'));
    }
  });
}

test('a read that the gate refuses ends the wait and tries to cancel', async () => {
  const running = startStep(gate);
  await until(() => gate.polls().length > 0);
  gate.fault(/^GET \/v1/, (response) => send(response, problem(403, 'This repository may no longer read it.')));
  const step = await running.finished;
  assert.equal(step.code, 1);
  assert.match(errorOf(step), /may no longer read it/);
  assert.equal(gate.approval.status, 'cancelled');
});

test('the timeout cancels what nobody waits for any more', async () => {
  const step = await runStep(gate, { inputs: { timeout: '2s' } });
  assert.equal(step.code, 1);
  assert.match(errorOf(step), /title=Nobody decided in time/);
  assert.equal(gate.approval.status, 'cancelled');
});

for (const [name, value, sentence] of [
  ['gate-url', '', /is missing/],
  ['gate-url', 'gate.example.com', /no address/],
  ['gate-url', 'http://gate.example.com', /https/],
  ['gate-url', 'https://user:secret@gate.example.com', /bare address/],
  ['environment', '', /is missing/],
  ['service', '', /is missing/],
  ['job', 'projects/demo/locations/europe-west1/jobs/migrate', /stands beside service/],
  ['run', 'false', /without a job/],
  ['run', 'no', /true or false/],
  ['image', '', /is missing/],
  ['reason', ' ', /is missing/],
  ['mode', 'hope', /wait, ask or rule/],
  ['template', '{', /not valid JSON/],
  ['template', '[]', /JSON object/],
  ['steps', '10,fifty', /whole percentages/],
  ['steps', '[10, 50.5]', /whole percentages/],
  ['steps', '[10,', /not valid JSON/],
  ['steps', '[[10]]', /whole percentages/],
  ['links', '{"title":"x"}', /JSON list/],
  ['links', '[{"title":"x"}]', /JSON list/],
  ['timeout', 'soon', /6h/],
  ['timeout', '0m', /6h/],
]) {
  test(`input ${name} "${value}" is refused before anything is sent`, async () => {
    const step = await runStep(gate, { inputs: { [name]: value } });
    assert.equal(step.code, 1);
    assert.match(errorOf(step), new RegExp(`^::error title=Input ${name}::The input ${name} `));
    assert.match(errorOf(step), sentence);
    assert.equal(gate.journal.length, 0);
  });
}

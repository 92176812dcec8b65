// The paths that end well: asking, waiting, and surviving what networks do.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { FakeGate, problem, send } from './fake_gate.mjs';
import { IMAGE, SERVICE, runPost, runStep, startStep, until } from './step.mjs';

let gate;
beforeEach(async () => { gate = await FakeGate.start(); });
afterEach(() => gate.stop());

test('mode ask ends after posting, with the id as output and nothing to clean up', async () => {
  const step = await runStep(gate, { inputs: {
    mode: 'ask', template: '{"containers":[]}', steps: '10, 50,100', title: 'T', body: 'B', 'expires-in': '8h',
    links: '[{"title":"Notes","url":"https://example.com"}]',
  } });
  assert.equal(step.code, 0, step.stdout + step.stderr);
  assert.equal(gate.polls().length, 0);
  const { id, deployment_digest: digest, short_code: shortCode, url } = gate.approval;
  assert.deepEqual(step.outputs, { 'approval-id': id, status: 'pending', url, 'deployment-digest': digest });
  for (const text of [url, digest, shortCode]) assert.ok(step.summary.includes(text) && step.stdout.includes(text), text);
  assert.deepEqual(step.state, {});
  const [post] = gate.requests('POST /v1/approvals');
  assert.deepEqual(post.body, {
    environment: 'production',
    subject: { kind: 'deployment', service: SERVICE, image: IMAGE, template: { containers: [] }, steps: [10, 50, 100] },
    reason: 'Ship it', title: 'T', body: 'B', links: [{ title: 'Notes', url: 'https://example.com' }], expires_in: '8h',
  });
  const clean = await runPost(gate, step);
  assert.equal(clean.code, 0);
  assert.equal(gate.approval.status, 'pending');
});

test('a job is asked for in the place of a service', async () => {
  const job = 'projects/demo/locations/europe-west1/jobs/migrate';
  await runStep(gate, { inputs: { mode: 'ask', service: '', job } });
  const { subject } = gate.requests('POST /v1/approvals')[0].body;
  assert.deepEqual(subject, { kind: 'job_execution', job, image: IMAGE });
});

test('a job that is only updated is another request than its run', async () => {
  const job = 'projects/demo/locations/europe-west1/jobs/migrate';
  for (const run of ['true', 'false']) await runStep(gate, { inputs: { mode: 'ask', service: '', job, run } });
  const posts = gate.requests('POST /v1/approvals');
  assert.deepEqual(posts.map(({ body }) => body.subject.run), [undefined, false]);
  assert.equal(new Set(posts.map(({ headers }) => headers['idempotency-key'])).size, 2);
});

test('an absent optional input is absent in the request', async () => {
  await runStep(gate, { inputs: { mode: 'ask', steps: '', title: '  ' } });
  assert.deepEqual(Object.keys(gate.requests('POST /v1/approvals')[0].body).sort(), ['environment', 'reason', 'subject']);
});

test('waits over many polls, each with a token of its own, and reports what is served', async () => {
  const running = startStep(gate);
  await until(() => gate.polls().length >= 3);
  const { id } = gate.approval;
  assert.ok(running.summarySoFar().includes(gate.approval.url), 'the link is there while the step waits');
  gate.approve(id);
  await until(() => gate.polls().at(-1).query.get('version') === '2');
  gate.succeed(id);
  const step = await running.finished;
  assert.equal(step.code, 0, step.stdout + step.stderr);
  const { evidence, ...outputs } = step.outputs;
  assert.deepEqual(outputs, {
    'approval-id': id, status: 'succeeded', url: gate.approval.url, 'deployment-digest': gate.approval.deployment_digest,
    revision: 'web-c0ffee', 'service-url': 'https://web.example.app', traffic: '[{"revision":"web-c0ffee","percent":100}]',
    'decided-by': 'Alice Example', 'decided-at': '2026-11-24T05:00:00Z',
  });
  assert.equal(JSON.parse(readFileSync(evidence, 'utf8')).id, id);
  assert.ok(evidence.startsWith(step.folder));
  assert.ok(gate.polls().every(({ query }) => query.get('wait') === '50'));
  const tokens = gate.journal.filter(({ path }) => path !== '/token').map(({ token }) => token);
  assert.equal(new Set(tokens).size, tokens.length, 'no token is used twice');
  for (const token of tokens) assert.ok(step.stdout.includes(`::add-mask::${token}\n`));
  for (const line of ['Status approved: Signed; the rollout begins.', 'Status succeeded: Cloud Run serves what was signed.']) {
    assert.equal(step.stdout.split(line).length, 2, `"${line}" once`);
  }
  for (const text of ['Approval asked for', 'Approval succeeded', 'web-c0ffee: 100 %', 'Alice Example']) assert.ok(step.summary.includes(text), text);
  assert.equal(step.state.pending, '');
  assert.equal(gate.requests(`POST /v1/approvals/${id}/cancel`).length, 0);
});

test('survives a restart of the gate while it waits', async () => {
  const running = startStep(gate);
  await until(() => gate.polls().length >= 1);
  await gate.stop();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  gate.approve(gate.approval.id);
  gate.succeed(gate.approval.id);
  await gate.listen(gate.port);
  const step = await running.finished;
  assert.equal(step.code, 0, step.stdout + step.stderr);
  assert.match(step.stdout, /No answer yet, asking again: /);
  assert.match(step.stdout, /The gate answers again\./);
});

test('a lost answer is asked for again under the same key with a fresh token: one approval', async () => {
  gate.fault(/^POST \/v1\/approvals$/, async (response, answer) => { await answer(); response.destroy(); });
  gate.fault(/^POST \/v1\/approvals$/, (response) => response.destroy());
  const step = await runStep(gate, { inputs: { mode: 'ask' } });
  assert.equal(step.code, 0, step.stdout + step.stderr);
  assert.equal(gate.approvals.size, 1);
  const posts = gate.requests('POST /v1/approvals');
  assert.equal(posts.length, 3);
  assert.equal(new Set(posts.map(({ headers }) => headers['idempotency-key'])).size, 1);
  assert.equal(new Set(posts.map(({ token }) => token)).size, 3);
});

test('is patient with 5xx, 429, proxies and the token service', async () => {
  gate.approveEverything();
  gate.fault(/^GET \/token$/, (response) => send(response, { status: 503, body: 'away', type: 'text/plain' }));
  gate.fault(/^POST \/v1\/approvals$/, (response) => send(response, problem(429, 'Slow down.', { 'retry-after': '1' })));
  gate.fault(/^GET \/v1\/approvals\/[^/]+$/, (response) => send(response, { status: 502, body: '<h1>Bad gateway</h1>', type: 'text/html' }));
  gate.fault(/^GET \/v1\/approvals\/[^/]+$/, (response) => send(response, { status: 404, body: 'no backend', type: 'text/plain' }));
  gate.fault(/^GET \/v1\/approvals\/[^/]+$/, (response) => send(response, { status: 200, body: '<h1>Maintenance</h1>', type: 'text/html' }));
  gate.fault(/^GET \/v1\/approvals\/[^/]+$/, (response) => send(response, problem(401, 'The keys are not known yet.')));
  const step = await runStep(gate);
  assert.equal(step.code, 0, step.stdout + step.stderr);
  assert.equal(step.outputs.status, 'succeeded');
});

test('a repeated step of one attempt finds its approval; a re-run, another job and another target ask anew', async () => {
  const ask = (options = {}) => runStep(gate, { ...options, inputs: { mode: 'ask', ...options.inputs } });
  const first = await ask();
  const again = await ask();
  assert.equal(again.outputs['approval-id'], first.outputs['approval-id']);
  await ask({ environment: { GITHUB_RUN_ATTEMPT: '2' } });
  await ask({ environment: { GITHUB_RUN_ID: '100' } });
  await ask({ environment: { GITHUB_JOB: 'other' } });
  await ask({ environment: { GITHUB_REPOSITORY_ID: '4712' } });
  await ask({ inputs: { service: `${SERVICE}-two` } });
  await ask({ inputs: { environment: 'staging' } });
  await ask({ inputs: { 'idempotency-key': 'my-own' } });
  const keys = gate.requests('POST /v1/approvals').map(({ headers }) => headers['idempotency-key']);
  assert.equal(new Set(keys).size, keys.length - 1);
  assert.equal(gate.approvals.size, keys.length - 1);
  assert.equal(keys.at(-1), 'my-own');
});

test('mode wait after mode ask waits for the same approval, also when it has ended already', async () => {
  await runStep(gate, { inputs: { mode: 'ask' } });
  gate.approve(gate.approval.id);
  gate.succeed(gate.approval.id);
  const step = await runStep(gate);
  assert.equal(step.code, 0, step.stdout + step.stderr);
  assert.equal(step.outputs.revision, 'web-c0ffee');
  assert.equal(gate.approvals.size, 1);
});

test('a missing evidence file is a warning, and absent optional members are no trouble', async () => {
  gate.fault(/\/evidence$/, (response) => send(response, problem(404, 'Nothing here.')));
  const running = startStep(gate);
  await until(() => gate.approval);
  gate.change(gate.approval.id, { status: 'succeeded', status_sentence: undefined, decisions: [{ decision: 'approve' }] });
  const step = await running.finished;
  assert.equal(step.code, 0, step.stdout + step.stderr);
  assert.equal(step.outputs.evidence, '');
  assert.equal(step.outputs['decided-by'], '');
  assert.ok(step.commands.some((line) => line.startsWith('::warning title=No evidence file::')));
});

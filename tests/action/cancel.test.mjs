// A cancelled job leaves no approval behind that somebody could sign by mistake.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { FakeGate, problem, send } from './fake_gate.mjs';
import { runPost, startStep, until } from './step.mjs';

let gate;
beforeEach(async () => { gate = await FakeGate.start(); });
afterEach(() => gate.stop());

const cancellations = () => gate.requests(`POST /v1/approvals/${gate.approval.id}/cancel`);

for (const signal of ['SIGINT', 'SIGTERM']) {
  test(`${signal} while waiting cancels the approval and fails`, async () => {
    gate.longestPoll = 60_000;
    const running = startStep(gate);
    await until(() => gate.polls().length === 1);
    running.child.kill(signal);
    const step = await running.finished;
    assert.equal(step.code, 1);
    assert.equal(gate.approval.status, 'cancelled');
    assert.match(step.stdout, /^Approval \S+ is cancelled\.$/m);
    assert.match(step.stdout, /^::error title=Cancelled::/m);
    assert.equal(step.state.pending, '');
    await runPost(gate, step);
    assert.equal(cancellations().length, 1, 'the post step has nothing to do');
  });
}

test('SIGINT before the answer to the request arrived finds the approval by its key', async () => {
  let arrived = false;
  gate.fault(/^POST \/v1\/approvals$/, async (response, answer) => { await answer(); arrived = true; });
  const running = startStep(gate);
  await until(() => arrived);
  running.child.kill('SIGINT');
  const step = await running.finished;
  assert.equal(step.code, 1);
  assert.equal(gate.approvals.size, 1);
  assert.equal(gate.approval.status, 'cancelled');
});

test('SIGINT during an outage leaves the work to the post step', async () => {
  const running = startStep(gate);
  await until(() => gate.polls().length === 1);
  await gate.stop();
  running.child.kill('SIGINT');
  const step = await running.finished;
  assert.equal(step.code, 1);
  assert.equal(gate.approval.status, 'pending');
  await gate.listen(gate.port);
  const post = await runPost(gate, step);
  assert.equal(post.code, 0, post.stdout + post.stderr);
  assert.equal(gate.approval.status, 'cancelled');
});

test('the post step cancels when the main step was killed', async () => {
  const running = startStep(gate);
  await until(() => gate.polls().length === 1);
  running.child.kill('SIGKILL');
  const step = await running.finished;
  assert.equal(step.signal, 'SIGKILL');
  await runPost(gate, step);
  assert.equal(gate.approval.status, 'cancelled');
});

test('the post step cancels when the main step was killed before it knew the id', async () => {
  let arrived = false;
  gate.fault(/^POST \/v1\/approvals$/, async (response, answer) => { await answer(); arrived = true; });
  const running = startStep(gate);
  await until(() => arrived);
  running.child.kill('SIGKILL');
  await runPost(gate, await running.finished);
  assert.equal(gate.approvals.size, 1);
  assert.equal(gate.approval.status, 'cancelled');
});

test('what can no longer be cancelled is said, and the job ends all the same', async () => {
  gate.longestPoll = 60_000;
  const running = startStep(gate);
  await until(() => gate.polls().length === 1);
  gate.fault(/\/cancel$/, (response) => send(response, problem(409, 'The rollout has begun.')));
  running.child.kill('SIGINT');
  const step = await running.finished;
  assert.equal(step.code, 1);
  assert.match(step.stdout, /was not cancelled: The rollout has begun\./);
  assert.equal(step.state.pending, '');
});

test('mode ask never cancels, whatever happens to the job', async () => {
  let arrived = false;
  gate.fault(/^POST \/v1\/approvals$/, async (response, answer) => { await answer(); arrived = true; });
  const running = startStep(gate, { inputs: { mode: 'ask' } });
  await until(() => arrived);
  running.child.kill('SIGINT');
  const step = await running.finished;
  assert.equal(step.code, 1);
  await runPost(gate, step);
  assert.equal(gate.approval.status, 'pending');
  assert.equal(cancellations().length, 0);
});

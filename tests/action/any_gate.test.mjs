// The script alone, as the runner starts it, against the fake or any real gate
// (see gate_under_test.mjs). Nobody needs to sign.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { call, gateUnderTest } from './gate_under_test.mjs';
import { runPost, runStep, startStep, until } from './step.mjs';

let gate;
before(async () => { gate = await gateUnderTest(); });
after(() => gate?.stop());

// A run of its own for each test, so that no key meets an earlier approval.
const options = (inputs = {}) => ({ inputs: { ...gate.target, ...inputs }, environment: { GITHUB_RUN_ID: randomUUID() } });
const statusOf = async (id) => (await call(gate, 'GET', `/v1/approvals/${id}`)).body.status;

test('asking twice within one attempt makes one approval', async () => {
  const same = options({ mode: 'ask' });
  const first = await runStep(gate, same);
  assert.equal(first.code, 0, first.stdout + first.stderr);
  const second = await runStep(gate, same);
  assert.equal(second.outputs['approval-id'], first.outputs['approval-id']);
  assert.equal(await statusOf(first.outputs['approval-id']), 'pending');
  await call(gate, 'POST', `/v1/approvals/${first.outputs['approval-id']}/cancel`, {});
});

for (const [signal, how] of [['SIGINT', 'by itself'], ['SIGKILL', 'in the post step']]) {
  test(`${signal} cancels the approval ${how}`, async () => {
    const running = startStep(gate, options());
    await until(() => running.stdout.includes('::notice '));
    running.child.kill(signal);
    const step = await running.finished;
    assert.notEqual(step.code, 0);
    await runPost(gate, step);
    assert.equal(await statusOf(step.outputs['approval-id']), 'cancelled', step.stdout);
  });
}

test('an image by tag fails with the sentence of the gate', async () => {
  const step = await runStep(gate, options({ image: gate.target.image.replace(/@.*/, ':latest') }));
  assert.equal(step.code, 1);
  assert.match(step.stdout, /^::error title=[^:]+::.*digest/m);
});

test('a token for another audience is refused', async () => {
  const step = await runStep(gate, options({ audience: 'https://elsewhere.example.com' }));
  assert.equal(step.code, 1);
  assert.match(step.stdout, /^::error /m);
  assert.equal(step.outputs['approval-id'], undefined);
});

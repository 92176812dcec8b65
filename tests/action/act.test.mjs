// Workflows that use the step, run by act on this machine without Docker.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { call, GATE_IS_FAKE, gateUnderTest } from './gate_under_test.mjs';
import { idIn, runWorkflow } from './workflow.mjs';

let gate;
before(async () => { gate = await gateUnderTest(); });
after(() => gate?.stop());

test('a workflow asks and hands id and link to its next step', async () => {
  const { code, log, outputs, outcome } = await runWorkflow(gate, 'ask');
  assert.equal(code, 0, log);
  assert.equal(outcome, 'success');
  assert.equal(outputs.status, 'pending');
  assert.ok(outputs.url.startsWith(gate.url), outputs.url);
  assert.ok(log.includes(outputs.url));
  const { body } = await call(gate, 'GET', `/v1/approvals/${outputs['approval-id']}`);
  assert.equal(body.deployment_digest, outputs['deployment-digest']);
  assert.equal(body.status, 'pending', 'the end of the job cancels nothing');
  await call(gate, 'POST', `/v1/approvals/${outputs['approval-id']}/cancel`, {});
});

// At a real gate a person signs: tests/browser/pipeline.test.mjs tells that story.
if (GATE_IS_FAKE) test('a workflow waits and hands every output to its next step', async () => {
  gate.fake.approveEverything();
  const { code, log, outputs, outcome } = await runWorkflow(gate, 'wait');
  assert.equal(code, 0, log);
  assert.equal(outcome, 'success');
  assert.equal(outputs.status, 'succeeded');
  for (const name of ['approval-id', 'url', 'deployment-digest', 'revision', 'service-url', 'traffic', 'decided-by', 'decided-at', 'evidence']) {
    assert.ok(outputs[name], `${name} is set`);
  }
  assert.equal(JSON.parse(outputs.traffic).reduce((sum, { percent }) => sum + percent, 0), 100);
});

test('a workflow fails when its approval is cancelled elsewhere', async () => {
  if (gate.fake) gate.fake.onCreate = undefined;
  const cancelled = [];
  const { code, log, outputs, outcome } = await runWorkflow(gate, 'wait', (line) => {
    const id = idIn(line);
    if (id && !cancelled.includes(id)) {
      cancelled.push(id);
      call(gate, 'POST', `/v1/approvals/${id}/cancel`, {});
    }
  });
  assert.equal(code, 1, log);
  assert.equal(outcome, 'failure');
  assert.equal(outputs.status, 'cancelled');
});

test('a workflow that is interrupted cancels its approval', async () => {
  if (gate.fake) gate.fake.onCreate = undefined;
  let id;
  const { code, log } = await runWorkflow(gate, 'wait', (line, act) => {
    if (id === undefined) {
      id = idIn(line);
      if (id) act.kill('SIGINT');
    }
  });
  assert.equal(code, 1, log);
  const { body } = await call(gate, 'GET', `/v1/approvals/${id}`);
  assert.equal(body.status, 'cancelled', log);
});

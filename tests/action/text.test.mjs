// Text from the gate, from approvers and from the pipeline stays text.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { commandMessage, commandProperty, html, inertLine, webAddress } from '../../actions/scripts/text.mjs';
import { pauseAfter } from '../../actions/scripts/retry.mjs';
import { FakeGate } from './fake_gate.mjs';
import { startStep, until } from './step.mjs';

let gate;
beforeEach(async () => { gate = await FakeGate.start(); });
afterEach(() => gate.stop());

const HOSTILE = 'x\n::set-output name=status::succeeded\r\n##[add-path]/tmp\u2028::error::y <img src=x onerror=alert(1)> [a](javascript:b) | `c` \u202Egnp & 100%';

test('hostile text makes no command, no markup and no output of its own', async () => {
  const running = startStep(gate, { inputs: { reason: HOSTILE } });
  await until(() => gate.approval);
  gate.change(gate.approval.id, {
    status: 'rejected', status_sentence: HOSTILE, url: 'javascript:alert(1)', short_code: HOSTILE, expires_at: HOSTILE, deployment_digest: `d\nstatus<<E\nsucceeded\nE\n`,
    rollout: { uri: HOSTILE, revision: HOSTILE, traffic: [{ revision: HOSTILE, percent: HOSTILE }] },
    decisions: [{ approver: { name: HOSTILE }, decision: 'reject', reason: HOSTILE, decided_at: HOSTILE }],
  });
  const step = await running.finished;
  assert.equal(step.code, 1);
  assert.deepEqual(step.commands.map((line) => line.split(/[ :]+/)[1]), ['notice', 'error']);
  assert.ok(!step.stdout.includes('##['));
  assert.doesNotMatch(step.stdout + step.summary, /[\u2028\u202E\r]/u);
  assert.ok(!step.summary.includes('<img') && !step.summary.includes('href="javascript:'));
  assert.doesNotMatch(step.summary.trimEnd().replaceAll('</table>\n\n<h3>', ''), /\n\n/, 'a blank line would end the HTML block');
  assert.equal(step.outputs.status, 'rejected');
  assert.equal(step.outputs['deployment-digest'], 'd\nstatus<<E\nsucceeded\nE\n');
});

test('the escapes of workflow commands are those of the runner', () => {
  assert.equal(commandMessage('50%\nnext'), '50%25 next');
  assert.equal(commandProperty('a: b, c%'), 'a%3A b%2C c%25');
  assert.equal(inertLine('  ::error::x'), ': :error::x');
  assert.equal(inertLine('Alice ##[group]'), 'Alice ## [group]');
});

test('HTML is escaped and only web addresses become links', () => {
  assert.equal(html(`<a href="x">'&`), '&lt;a href=&quot;x&quot;&gt;&#39;&amp;');
  assert.equal(webAddress('https://gate.example.com/a'), 'https://gate.example.com/a');
  for (const address of ['javascript:alert(1)', 'data:text/html,x', '/relative', undefined]) assert.equal(webAddress(address), undefined);
});

test('pauses double up to half a minute and vary by half', () => {
  assert.equal(pauseAfter(0, () => 0), 500);
  assert.equal(pauseAfter(3, () => 1), 8000);
  assert.equal(pauseAfter(50, () => 1), 30_000);
});

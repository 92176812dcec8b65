// Workflows that use the step, run by act on this machine without Docker.
// Against a real gate (see gate_under_test.mjs) nobody may be there to sign: the
// waiting workflow is then cancelled through the API, unless
// COUNTERSIGN_APPROVED_BY_OTHERS=1 promises that somebody signs.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { REQUEST_TOKEN } from './fake_gate.mjs';
import { call, gateUnderTest } from './gate_under_test.mjs';
import { ACTION } from './step.mjs';

const ACT = process.env.ACT ?? fileURLToPath(new URL('../.cache/python/bin/act', import.meta.url));
const HANGING_MILLISECONDS = 360_000;

let gate;
before(async () => {
  assert.ok(existsSync(ACT), `act is missing at ${ACT}: install it with `
    + '`python3 -m venv tests/.cache/python && tests/.cache/python/bin/pip install -r tests/clients/requirements.txt`, or name it in ACT.');
  gate = await gateUnderTest();
});
after(() => gate?.stop());

/** Runs one workflow; `onLine(line, child)` sees each line of its log. */
async function runWorkflow(name, onLine = () => {}) {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-act-'));
  const repository = join(folder, 'repository');
  mkdirSync(repository);
  cpSync(fileURLToPath(new URL(`workflows/${name}.yml`, import.meta.url)), join(repository, `${name}.yml`));
  for (const words of [['init', '-q'], ['add', '.'], ['-c', 'user.name=test', '-c', 'user.email=test@example.com', 'commit', '-qm', 'test']]) {
    assert.equal(spawnSync('git', words, { cwd: repository }).status, 0, `git ${words[0]}`);
  }
  const variables = {
    ACTIONS_ID_TOKEN_REQUEST_URL: gate.tokenUrl, ACTIONS_ID_TOKEN_REQUEST_TOKEN: REQUEST_TOKEN,
    GATE_URL: gate.url, GATE_ENVIRONMENT: gate.target.environment, GATE_SERVICE: gate.target.service, GATE_IMAGE: gate.target.image,
    IDEMPOTENCY_KEY: randomUUID(), RESULT_FOLDER: folder,
  };
  const words = ['push', '-W', `${name}.yml`, '-P', 'ubuntu-latest=-self-hosted', '--no-cache-server', '--local-repository', `org/action@v1=${ACTION}`];
  for (const [variable, value] of Object.entries(variables)) words.push('--env', `${variable}=${value}`);
  // act keeps its settings and its cache in the home folder: give it one of its own.
  const env = { PATH: process.env.PATH, HOME: folder, XDG_CACHE_HOME: join(folder, 'cache'), XDG_CONFIG_HOME: join(folder, 'config') };
  const child = spawn(ACT, words, { cwd: repository, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: HANGING_MILLISECONDS });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text) => { log += text; text.split('\n').forEach((line) => onLine(line, child)); });
  }
  const [code] = await once(child, 'close');
  const result = (file) => readFileSync(join(folder, file), 'utf8');
  assert.ok(existsSync(join(folder, 'outputs.json')), log);
  return { code, log, outputs: JSON.parse(result('outputs.json')), outcome: result('outcome') };
}

test('a workflow asks and hands id and link to its next step', async () => {
  const { code, log, outputs, outcome } = await runWorkflow('ask');
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

test('a workflow waits and hands every output to its next step', async (context) => {
  if (gate.fake) gate.fake.approveEverything();
  else if (process.env.COUNTERSIGN_APPROVED_BY_OTHERS !== '1') return context.skip('nobody signs at this gate: set COUNTERSIGN_APPROVED_BY_OTHERS=1 when somebody does');
  const { code, log, outputs, outcome } = await runWorkflow('wait');
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
  const { code, log, outputs, outcome } = await runWorkflow('wait', (line) => {
    const id = /Approval ([\w-]+) is pending\./.exec(line)?.[1];
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
  const { code, log } = await runWorkflow('wait', (line, act) => {
    if (id === undefined) {
      id = /Approval ([\w-]+) is pending\./.exec(line)?.[1];
      if (id) act.kill('SIGINT');
    }
  });
  assert.equal(code, 1, log);
  const { body } = await call(gate, 'GET', `/v1/approvals/${id}`);
  assert.equal(body.status, 'cancelled', log);
});

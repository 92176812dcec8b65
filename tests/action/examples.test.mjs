// Every example is a workflow, uses the actions as they are, and some of them run here.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { FakeGate } from './fake_gate.mjs';
import { keysOf, requiredInputs } from './metadata.mjs';
import { ACTIONS, IMAGE, SERVICE } from './step.mjs';
import { ACT, runWorkflow } from './workflow.mjs';

const FOLDER = join(ACTIONS, 'examples');
const EXAMPLES = readdirSync(FOLDER);
const read = (name) => readFileSync(join(FOLDER, name), 'utf8');

let gate;
before(async () => {
  const fake = await FakeGate.start();
  fake.approveEverything();
  gate = { url: fake.url, tokenUrl: fake.tokenUrl, target: { environment: 'production', service: SERVICE, image: IMAGE }, fake, stop: () => fake.stop() };
});
after(() => gate.stop());

const validate = (path) => spawnSync(ACT, ['--validate', '--strict', '-W', path], { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: tmpdir() } });

test('a workflow that is none is noticed', () => {
  const path = join(mkdtempSync(join(tmpdir(), 'countersign-example-')), 'broken.yml');
  writeFileSync(path, read('matrix.yml').replace('runs-on', 'runs-in'));
  assert.notEqual(validate(path).status, 0);
});

for (const name of EXAMPLES) {
  test(`${name} is a workflow`, () => {
    const { status, stdout, stderr } = validate(join(FOLDER, name));
    assert.equal(status, 0, stdout + stderr);
  });

  test(`${name} gives each action the inputs that it has, and reads the outputs that it gives`, () => {
    // One step after the other: its id, its action, its inputs.
    const steps = read(name).split(/^ {6}- /m).slice(1);
    const outputs = new Map();
    for (const step of steps) {
      const action = /uses: OWNER\/countersign\/actions\/([\w-]+)@v1/.exec(step)?.[1];
      if (!action) continue;
      const given = [...step.matchAll(/^ {10}([\w-]+):/gm)].map(([, key]) => key);
      for (const key of given) assert.ok(keysOf(action, 'inputs').includes(key), `${action} has no input ${key}`);
      for (const key of requiredInputs(action)) assert.ok(given.includes(key), `${action} needs ${key}`);
      const id = /\bid: (\w+)/.exec(step)?.[1];
      if (id) outputs.set(id, keysOf(action, 'outputs'));
    }
    for (const [, id, output] of read(name).matchAll(/steps\.(\w+)\.outputs\.([\w-]+)/g)) {
      if (outputs.has(id)) assert.ok(outputs.get(id).includes(output), `${id} has no output ${output}`);
    }
    const asks = /actions\/(request|wait-for)-approval@/.test(read(name));
    assert.ok(!asks || read(name).includes('id-token: write'), 'the gate has to learn which job asks');
  });
}

// What an example leaves to its reader: where the gate is.
const here = (text) => text.replaceAll('https://gate.example.com', gate.url);
const run = (name, event) => runWorkflow(gate, name, undefined, { from: FOLDER, change: here, event });

test('ask-then-wait runs: one job asks, another waits for its id', async () => {
  const { code, log } = await run('ask-then-wait', ['workflow_dispatch', '--input', `image=${IMAGE}`]);
  assert.equal(code, 0, log);
  assert.match(log, /succeeded, signed by Alice Example/);
});

test('rule runs: one job asks and ends, the next one waits for its id', async () => {
  const { code, log } = await run('rule', push());
  assert.equal(code, 0, log);
  assert.match(log, /Jobs of the environment production that need this one wait at GitHub/);
  assert.match(log, /web-c0ffee serves, signed by Alice Example/);
});

test('matrix runs: each service is an approval of its own, and all are one batch', async () => {
  const before = gate.fake.approvals.size;
  const { code, log } = await run('matrix', push());
  assert.equal(code, 0, log);
  const asked = [...gate.fake.approvals.values()].slice(before).map(({ subject }) => subject.service.split('/').at(-1));
  assert.deepEqual(asked.sort(), ['checkout', 'web']);
  const batches = [...gate.fake.approvals.values()].slice(before).map(({ batch, batch_size }) => [batch, batch_size]);
  assert.deepEqual(batches, [['services', 2], ['services', 2]]);
});

test('several-environments runs: production is asked for after staging serves', async () => {
  const before = gate.fake.approvals.size;
  const { code, log } = await run('several-environments', push());
  assert.equal(code, 0, log);
  const asked = [...gate.fake.approvals.values()].slice(before).map(({ environment }) => environment);
  assert.deepEqual(asked, ['staging', 'production']);
});

test('calls-reusable runs: the called workflow asks and hands the revision back', async () => {
  const { code, log } = await run('calls-reusable', push());
  assert.equal(code, 0, log);
  assert.match(log, /web-c0ffee serves/);
});

// A push with the one thing that examples read of it.
function push() {
  const path = join(mkdtempSync(join(tmpdir(), 'countersign-event-')), 'event.json');
  writeFileSync(path, JSON.stringify({ head_commit: { message: 'Fixes the checkout on phones' } }));
  return ['push', '-e', path];
}

// The step that judges evidence, with the real program and the vectors of tests/data/evidence. Refusals first.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { target } from '../harness/demo.mjs';
import { keysOf } from './metadata.mjs';
import { runStep } from './step.mjs';
import { runWorkflow } from './workflow.mjs';

const PROGRAM = process.env.COUNTERSIGN_BINARY ?? join(target, 'debug/countersign');
const DATA = fileURLToPath(new URL('../data/evidence/', import.meta.url));
const GOOD = join(DATA, 'good-approved.json');
const folder = mkdtempSync(join(tmpdir(), 'countersign-verify-'));
const deployment = JSON.parse(JSON.parse(readFileSync(GOOD, 'utf8')).deployment);
const DIGEST = deployment.image.split('@')[1];

const file = (name, text) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const script = (name, text) => {
  const path = file(name, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
};
const errorOf = (step) => step.commands.find((line) => line.startsWith('::error '));

function verify(inputs = {}, environment = {}) {
  assert.ok(existsSync(PROGRAM), `${PROGRAM} is missing: build it with cargo build, or run tests/run`);
  const all = { evidence: GOOD, trust: join(DATA, 'trust.json'), digest: DIGEST, program: PROGRAM, ...inputs };
  return runStep({ url: '', tokenUrl: '' }, { action: 'verify-evidence', inputs: all, environment });
}

async function refused(title, sentence, inputs, environment) {
  const step = await verify(inputs, environment);
  assert.equal(step.code, 1, step.stdout);
  assert.ok(errorOf(step).startsWith(`::error title=${title}::`), errorOf(step));
  assert.match(errorOf(step), sentence);
  assert.deepEqual(step.outputs, {}, 'what failed hands nothing on');
  return step;
}

const damaged = (change) => file('damaged.json', change(readFileSync(GOOD, 'utf8')));
const absent = join(folder, 'absent.json');
const otherTrust = () => {
  const trust = JSON.parse(readFileSync(join(DATA, 'trust.json'), 'utf8'));
  return file('other-trust.json', JSON.stringify({ ...trust, origin: 'https://other.example.com' }));
};

for (const [what, title, sentence, inputs] of [
  ['no evidence', 'Input evidence', /is missing/, { evidence: '' }],
  ['evidence that is not there', 'Input evidence', /no such file/, { evidence: absent }],
  ['no anchors', 'Input trust', /is missing/, { trust: '' }],
  ['anchors that are not there', 'Input trust', /no such file/, { trust: absent }],
  ['no digest', 'Input digest', /is missing/, { digest: '' }],
  ['a tag', 'Input digest', /sha256:/, { digest: 'latest' }],
  ['half a digest', 'Input digest', /64/, { digest: DIGEST.slice(0, -1) }],
  ['a digest in upper case', 'Input digest', /64/, { digest: DIGEST.toUpperCase() }],
  ['a download without its hash', 'Input program-sha256', /64/, { 'program-url': 'https://example.com/x' }],
  ['a hash without a download', 'Input program-url', /both or neither/, { 'program-sha256': 'a'.repeat(64) }],
  ['a download in the clear', 'Input program-url', /https/, { 'program-url': 'http://example.com/x', 'program-sha256': 'a'.repeat(64) }],
  ['a program that is not there', 'No verifier', /no program/, { program: absent }],
  ['another artifact', 'Another artifact', /the artifact here is/, { digest: `sha256:${'0'.repeat(64)}` }],
  ['another service', 'Another service', /asked for here/, { service: `${deployment.service}-two` }],
  ['another environment', 'Another environment', /asked for here/, { environment: 'staging' }],
  ['a rejection', 'Not approved', /rejected/, { evidence: join(DATA, 'good-rejected.json') }],
  ['evidence of another gate', 'Evidence does not hold', /audience_mismatch|malformed|log/, { trust: otherTrust() }],
  ['anchors that are none', 'No verdict', /other|trust|JSON|missing/i, { trust: file('empty.json', '{}') }],
  ['an empty file', 'Evidence does not hold', /malformed/, { evidence: file('nothing.json', '') }],
  ['a changed approver', 'Evidence does not hold', /proves nothing/, { evidence: damaged((text) => text.replaceAll('u-alice', 'u-mallo')) }],
  ['a changed image', 'Evidence does not hold', /proves nothing/, { evidence: file('image.json', readFileSync(GOOD, 'utf8').replaceAll(DIGEST.slice(7), '0'.repeat(64))), digest: `sha256:${'0'.repeat(64)}` }],
]) {
  test(`${what} is refused`, () => refused(title, sentence, inputs));
}

for (const [what, text] of [
  ['says nothing', 'exit 0'],
  ['says yes and ends badly', `echo '{"verdict": "approved"}'; exit 1`],
  ['says no and ends well', `echo '{"verdict": "not_approved"}'`],
  ['ends with an unknown code', `echo '{"verdict": "approved"}'; exit 7`],
  ['writes half an answer', `printf '{"verdict": "appro'`],
  ['kills itself', 'kill -9 $$'],
]) {
  test(`a verifier that ${what} gives no verdict`, () => refused('No verdict', /gave no verdict/, { program: script('verifier', text) }));
}

test('a downloaded program is run only if it is the one that was pinned', async () => {
  const served = readFileSync(PROGRAM);
  const server = createServer((request, response) => response.writeHead(request.url === '/program' ? 200 : 404).end(served));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${server.address().port}`;
  const sha256 = createHash('sha256').update(served).digest('hex');
  try {
    const none = { program: absent };
    await refused('Another verifier', /was not run/, { ...none, 'program-url': `${base}/program`, 'program-sha256': 'a'.repeat(64) });
    await refused('No verifier', /404/, { ...none, 'program-url': `${base}/absent`, 'program-sha256': sha256 });
    const step = await verify({ ...none, 'program-url': `${base}/program`, 'program-sha256': sha256 });
    assert.equal(step.code, 0, step.stdout + step.stderr);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('evidence that holds hands on what was signed', async () => {
  const step = await verify({ service: deployment.service, environment: deployment.environment });
  assert.equal(step.code, 0, step.stdout + step.stderr);
  assert.deepEqual(Object.keys(step.outputs).sort(), keysOf('verify-evidence', 'outputs').sort());
  assert.equal(step.outputs.image, deployment.image);
  assert.equal(step.outputs['approval-id'], deployment.approval);
  assert.equal(step.outputs.status, 'succeeded');
  const approvers = JSON.parse(step.outputs.approvers);
  assert.ok(approvers.length >= 1 && approvers.every(({ decision }) => decision === 'approve'));
  for (const text of ['Evidence holds', deployment.service, DIGEST]) assert.ok(step.summary.includes(text), step.summary);
  assert.equal(step.commands.length, 1, 'one annotation');
});

test('a program on the PATH is found by its name', async () => {
  const path = `${join(PROGRAM, '..')}:${process.env.PATH}`;
  const step = await verify({ program: '' }, { PATH: path });
  assert.equal(step.code, 0, step.stdout + step.stderr);
});

test('the verifier gets nothing of the job but its search path', async () => {
  const leak = join(folder, 'environment');
  await refused('No verdict', /gave no verdict/, { program: script('leaking', `env > ${leak}`) }, { SECRET: 'hunter2' });
  assert.doesNotMatch(readFileSync(leak, 'utf8'), /hunter2|ACTIONS_ID_TOKEN/);
});

for (const [evidence, code, outcome] of [['good-rejected.json', 1, 'failure'], ['good-approved.json', 0, 'success']]) {
  test(`a workflow that judges ${evidence} ends with ${outcome}`, async () => {
    const variables = { EVIDENCE: join(DATA, evidence), TRUST: join(DATA, 'trust.json'), DIGEST, PROGRAM };
    const gate = { url: '', tokenUrl: '', target: {} };
    const run = await runWorkflow(gate, 'verify', undefined, { variables });
    assert.deepEqual([run.code, run.outcome], [code, outcome], run.log);
    assert.equal(run.outputs.image, code === 0 ? deployment.image : undefined);
  });
}

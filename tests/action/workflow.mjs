// Runs a workflow that uses the step, by act on this machine without Docker.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { REQUEST_TOKEN } from './fake_gate.mjs';
import { ACTIONS } from './step.mjs';

/** Runs workflows on this machine. */
export const ACT = process.env.ACT ?? fileURLToPath(new URL('../.cache/python/bin/act', import.meta.url));
const WORKFLOWS = fileURLToPath(new URL('workflows/', import.meta.url));
const HANGING_MILLISECONDS = 360_000;

/** The id of the approval that a line of the log announces, if it does. */
export const idIn = (line) => /Approval ([\w-]+) is pending\./.exec(line)?.[1];

/**
 * Runs one workflow of a folder against a gate; `onLine(line, child)` sees each line of its log. `change` may
 * rewrite the text of each, `event` are the words of the event that starts it, and `variables`
 * are set in every step.
 */
export async function runWorkflow(gate, name, onLine = () => {}, { from = WORKFLOWS, change = (text) => text, event = ['push'], variables: more = {} } = {}) {
  assert.ok(existsSync(ACT), `act is missing at ${ACT}: run tests/run, which installs it, or name it in ACT.`);
  const folder = mkdtempSync(join(tmpdir(), 'countersign-act-'));
  const repository = join(folder, 'repository');
  const workflows = join(repository, '.github/workflows');
  mkdirSync(workflows, { recursive: true });
  for (const file of readdirSync(from)) writeFileSync(join(workflows, file), change(readFileSync(join(from, file), 'utf8')));
  // A checkout of an action brings the whole repository: here the part of it that actions are.
  const checkout = join(folder, 'countersign');
  cpSync(ACTIONS, join(checkout, 'actions'), { recursive: true });
  for (const words of [['init', '-q'], ['add', '.'], ['-c', 'user.name=test', '-c', 'user.email=test@example.com', 'commit', '-qm', 'test']]) {
    assert.equal(spawnSync('git', words, { cwd: repository }).status, 0, `git ${words[0]}`);
  }
  const variables = {
    ACTIONS_ID_TOKEN_REQUEST_URL: gate.tokenUrl, ACTIONS_ID_TOKEN_REQUEST_TOKEN: REQUEST_TOKEN,
    GATE_URL: gate.url, GATE_ENVIRONMENT: gate.target.environment, GATE_SERVICE: gate.target.service, GATE_IMAGE: gate.target.image,
    IDEMPOTENCY_KEY: randomUUID(), RESULT_FOLDER: folder, ...more,
  };
  const words = [...event, '-W', `.github/workflows/${name}.yml`, '-P', 'ubuntu-latest=-self-hosted', '--no-cache-server', '--local-repository', `OWNER/countersign@v1=${checkout}`];
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
  const left = existsSync(join(folder, 'outputs.json'));
  return { code, log, outputs: left ? JSON.parse(result('outputs.json')) : undefined, outcome: left ? result('outcome') : undefined };
}

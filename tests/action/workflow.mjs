// Runs a workflow that uses the step, by act on this machine without Docker.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { REQUEST_TOKEN } from './fake_gate.mjs';
import { ACTION } from './step.mjs';

const ACT = process.env.ACT ?? fileURLToPath(new URL('../.cache/python/bin/act', import.meta.url));
const HANGING_MILLISECONDS = 360_000;

/** The id of the approval that a line of the log announces, if it does. */
export const idIn = (line) => /Approval ([\w-]+) is pending\./.exec(line)?.[1];

/** Runs one workflow against a gate; `onLine(line, child)` sees each line of its log. */
export async function runWorkflow(gate, name, onLine = () => {}) {
  assert.ok(existsSync(ACT), `act is missing at ${ACT}: run tests/run, which installs it, or name it in ACT.`);
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

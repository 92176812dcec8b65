// Runs the step's scripts as the runner does: inputs and files by environment.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { REQUEST_TOKEN } from './fake_gate.mjs';

/** The folder of all actions. */
export const ACTIONS = fileURLToPath(new URL('../../actions/', import.meta.url));
export const IMAGE = `europe-docker.pkg.dev/demo/app/web@sha256:${'ab'.repeat(32)}`;
export const SERVICE = 'projects/demo/locations/europe-west1/services/web';

export function inputsFor(gateUrl, more = {}) {
  return { 'gate-url': gateUrl, environment: 'production', service: SERVICE, image: IMAGE, reason: 'Ship it', ...more };
}

// A step that hangs is a failure with a log, not a test run without an end.
const HANGING_MILLISECONDS = 60_000;

/** Starts a script of an action, with the inputs of request-approval unless it is another. `finished` answers with everything it left behind. */
export function startStep(gate, { action = 'request-approval', inputs = {}, environment = {}, script = 'index.mjs' } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-step-'));
  const files = Object.fromEntries(['OUTPUT', 'STATE', 'STEP_SUMMARY'].map((name) => [name, join(folder, name)]));
  for (const file of Object.values(files)) writeFileSync(file, '');
  const variables = {
    PATH: process.env.PATH,
    GITHUB_OUTPUT: files.OUTPUT, GITHUB_STATE: files.STATE, GITHUB_STEP_SUMMARY: files.STEP_SUMMARY, RUNNER_TEMP: folder,
    GITHUB_SERVER_URL: 'https://github.com', GITHUB_REPOSITORY_ID: '4711', GITHUB_RUN_ID: '99', GITHUB_RUN_ATTEMPT: '1', GITHUB_JOB: 'deploy',
    ACTIONS_ID_TOKEN_REQUEST_URL: gate.tokenUrl, ACTIONS_ID_TOKEN_REQUEST_TOKEN: REQUEST_TOKEN,
  };
  for (const [name, value] of Object.entries(action === 'request-approval' ? inputsFor(gate.url, inputs) : inputs)) variables[`INPUT_${name.toUpperCase()}`] = value;
  Object.assign(variables, environment);
  const child = spawn(process.execPath, [join(ACTIONS, action, script)], {
    env: withoutUndefined(variables), stdio: ['ignore', 'pipe', 'pipe'], timeout: HANGING_MILLISECONDS, killSignal: 'SIGKILL',
  });
  const step = { child, folder, stdout: '', stderr: '' };
  child.stdout.on('data', (data) => { step.stdout += data; });
  child.stderr.on('data', (data) => { step.stderr += data; });
  step.finished = once(child, 'close').then(([code, signal]) => ({
    ...step, code, signal,
    outputs: variablesIn(files.OUTPUT), state: variablesIn(files.STATE), summary: readFileSync(files.STEP_SUMMARY, 'utf8'),
    commands: step.stdout.split('\n').filter((line) => /^\s*::/.test(line) && !line.startsWith('::add-mask::')),
  }));
  step.summarySoFar = () => readFileSync(files.STEP_SUMMARY, 'utf8');
  return step;
}

export function runStep(gate, options) {
  return startStep(gate, options).finished;
}

/** Runs the post step with the state that the main step saved. */
export function runPost(gate, { state }, options = {}) {
  const saved = Object.fromEntries(Object.entries(state).map(([name, value]) => [`STATE_${name}`, value]));
  return runStep(gate, { ...options, script: 'post.mjs', environment: { ...saved, ...options.environment } });
}

/** Waits for a condition that another process brings about. */
export async function until(condition) {
  const deadline = performance.now() + HANGING_MILLISECONDS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

// The heredoc form that the runner documents; the last value of a name counts.
function variablesIn(file) {
  const variables = {};
  const lines = readFileSync(file, 'utf8').split('\n');
  while (lines.length > 1) {
    const [, name, delimiter] = /^([\w-]+)<<(.+)$/.exec(lines.shift());
    const end = lines.indexOf(delimiter);
    variables[name] = lines.splice(0, end + 1).slice(0, -1).join('\n');
  }
  return variables;
}

function withoutUndefined(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

// The step's inputs, checked before anything is sent. What the gate alone can
// judge (does the environment exist, do the steps rise to 100) is left to it.
import { createHash } from 'node:crypto';
import { inputReaders, readDuration, readGateUrl, readJson, wrong } from '../scripts/inputs.mjs';

/** Reads the inputs as the runner passes them, in `INPUT_…` variables. */
export function readInputs(environment) {
  const { optional, required } = inputReaders(environment);
  const gateUrl = readGateUrl(required('gate-url'));
  const mode = optional('mode') ?? 'wait';
  if (!['wait', 'ask', 'rule'].includes(mode)) throw wrong('mode', `is "${mode}": use wait, ask or rule.`);
  const request = withoutAbsent({
    environment: required('environment'),
    subject: withoutAbsent({
      ...readTarget(optional, required),
      image: required('image'),
      template: readTemplate(optional('template')),
      steps: readSteps(optional('steps')),
      after: optional('after'),
    }),
    reason: required('reason'),
    title: optional('title'),
    body: optional('body'),
    links: readLinks(optional('links')),
    expires_in: optional('expires-in'),
    batch: optional('batch'),
    batch_size: readCount(optional('batch-size')),
  });
  return {
    gateUrl,
    audience: optional('audience') ?? gateUrl,
    mode,
    timeoutMilliseconds: readDuration('timeout', optional('timeout') ?? '6h'),
    idempotencyKey: optional('idempotency-key') ?? deriveKey(environment, request),
    request,
  };
}

/**
 * One attempt of one job asks once for one image on one service or Cloud Run job, and once for
 * an update of that job alone. A re-run is a
 * new attempt and asks anew; a step repeated within the attempt finds the
 * approval that the first one made. The texts are left out on purpose: the gate
 * answers 422 when they differ, rather than asking people twice.
 */
function deriveKey(environment, request) {
  const run = environment.GITHUB_RUN_ID;
  const attempt = environment.GITHUB_RUN_ATTEMPT ?? '1';
  if (!run) throw wrong('idempotency-key', 'cannot be derived, GITHUB_RUN_ID is not set: give the input.');
  const parts = [
    environment.GITHUB_SERVER_URL ?? '',
    environment.GITHUB_REPOSITORY_ID || environment.GITHUB_REPOSITORY || '',
    run,
    attempt,
    environment.GITHUB_JOB ?? '',
    request.environment,
    request.subject.service ?? request.subject.job,
    request.subject.image,
    ...(request.subject.run === false ? ['update'] : []),
  ];
  const digest = createHash('sha256').update(JSON.stringify(parts)).digest('hex');
  return `github-${run}-${attempt}-${digest.slice(0, 32)}`;
}

/** A service to roll out to, or a job of Cloud Run to run once, or only to update. */
function readTarget(optional, required) {
  const job = optional('job');
  const run = readRun(optional('run'));
  if (job === undefined) {
    if (run === false) throw wrong('run', 'is false without a job: a service has nothing that could be left out.');
    return { kind: 'deployment', service: required('service') };
  }
  for (const name of ['service', 'steps', 'after']) {
    if (optional(name) !== undefined) throw wrong('job', `stands beside ${name}, which a job has not: give one of them.`);
  }
  return withoutAbsent({ kind: 'job_execution', job, run });
}

/** False, or nothing: without it the gate runs the job. */
function readRun(text) {
  if (text === undefined || text === 'true') return undefined;
  if (text !== 'false') throw wrong('run', `is "${text}": use true or false.`);
  return false;
}

function readTemplate(text) {
  if (text === undefined) return undefined;
  const value = readJson('template', text);
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw wrong('template', 'must be a JSON object such as {"containers": [{"env": []}]}.');
  }
  return value;
}

function readSteps(text) {
  if (text === undefined) return undefined;
  const steps = text.startsWith('[')
    ? readJson('steps', text)
    : text.split(',').map((part) => (/^\s*\d{1,3}\s*$/.test(part) ? Number(part) : undefined));
  if (!steps.every(Number.isInteger)) {
    throw wrong('steps', `is "${text}": write whole percentages such as 10,50,100.`);
  }
  return steps;
}

function readCount(text) {
  if (text === undefined) return undefined;
  if (!/^\d{1,3}$/.test(text)) throw wrong('batch-size', `is "${text}": write how many ask, such as 3.`);
  return Number(text);
}

function readLinks(text) {
  if (text === undefined) return undefined;
  const links = readJson('links', text);
  const isLink = (link) => typeof link?.title === 'string' && typeof link?.url === 'string';
  if (!Array.isArray(links) || !links.every(isLink)) {
    throw wrong('links', 'must be a JSON list such as [{"title": "Change log", "url": "https://…"}].');
  }
  return links;
}

function withoutAbsent(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

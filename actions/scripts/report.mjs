// What people and later steps get to see: log, annotation, summary, outputs, evidence.
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure } from './failure.mjs';
import { untilAnswered } from './retry.mjs';
import { annotate, appendSummary, log, setOutputs } from './runner.mjs';
import { html, webAddress } from './text.mjs';
import { sentenceOf } from './wait.mjs';

// The decision stands without our copy of its evidence, so patience is short.
const EVIDENCE_PATIENCE_MILLISECONDS = 60_000;

/** Says where to sign, before the wait begins. */
export function announce(approval, request) {
  setOutputs(identifyingOutputs(approval));
  log(`Approval ${approval.id} is ${approval.status}.`);
  log(`Read and sign it at: ${approval.url}`);
  if (approval.deployment_digest) log(`Deployment digest: ${approval.deployment_digest}`);
  if (approval.short_code) log(`Short code: ${approval.short_code} (the page shows the same)`);
  if (approval.expires_at) log(`It expires at ${approval.expires_at}.`);
  annotate('notice', 'Approval asked for', `${approval.url} (short code ${approval.short_code ?? 'none'})`);
  appendSummary(block('Approval asked for', link(approval), [
    ['Environment', html(request.environment)],
    request.subject.job ? ['Job', code(request.subject.job)] : ['Service', code(request.subject.service)],
    ['Image', code(request.subject.image)],
    ['Reason', html(request.reason)],
    ['Deployment digest', code(approval.deployment_digest)],
    ['Short code', code(approval.short_code)],
    ['Expires', html(approval.expires_at)],
  ]));
}

/** Says what happens to the jobs that come next. */
export function announceRule({ environment }) {
  const sentence = `Jobs of the environment ${environment} that need this one wait at GitHub until it is decided, and hold no runner.`;
  log(sentence);
  appendSummary(`<p>${html(sentence)}</p>`);
}

/** Says what is waited for, when somebody else asked for it. */
export function announceWait(approval) {
  setOutputs(identifyingOutputs(approval));
  log(`Approval ${approval.id} is ${approval.status}: ${sentenceOf(approval)}`);
  log(`Its page: ${approval.url}`);
  annotate('notice', 'Waiting for an approval', `${approval.url} (short code ${approval.short_code ?? 'none'})`);
}

/** Reports the end of the approval. Throws the gate's own sentence unless it succeeded. */
export async function conclude(gate, approval, signal) {
  const settled = settlingDecisions(approval);
  const evidence = await saveEvidence(gate, approval, signal);
  const rollout = approval.rollout ?? {};
  const decidedBy = [...new Set(settled.map(({ approver }) => approver?.name).filter(Boolean))].join(', ');
  const decidedAt = settled.at(-1)?.decided_at;
  setOutputs({
    ...identifyingOutputs(approval),
    revision: rollout.revision,
    'service-url': rollout.uri,
    traffic: rollout.traffic ? JSON.stringify(rollout.traffic) : '',
    ...(approval.execution && { execution: approval.execution.execution }),
    'decided-by': decidedBy,
    'decided-at': decidedAt,
    evidence,
  });
  appendSummary(block(`Approval ${approval.status}`, `${html(sentenceOf(approval))}<br>${link(approval)}`, [
    ['Decided by', html(decidedBy)],
    ['Decided at', html(decidedAt)],
    ['Reason given', html(settled.map(({ reason }) => reason).filter(Boolean).join('; '))],
    ['Revision', code(rollout.revision)],
    ['Service address', html(rollout.uri)],
    ['Traffic', html((rollout.traffic ?? []).map(({ revision, percent }) => `${revision}: ${percent} %`).join(', '))],
    ['Execution', code(approval.execution?.execution)],
    ['Evidence', code(evidence)],
  ]));
  if (approval.status !== 'succeeded') {
    throw new Failure(`Approval ${approval.status}`, sentenceOf(approval));
  }
}

function identifyingOutputs(approval) {
  return {
    'approval-id': approval.id,
    status: approval.status,
    url: approval.url,
    'deployment-digest': approval.deployment_digest,
  };
}

// One refusal settles an approval, whoever approved before it.
function settlingDecisions({ status, decisions = [] }) {
  const settling = status === 'rejected' ? ['reject'] : ['approve', 'break_glass'];
  return decisions.filter(({ decision }) => settling.includes(decision));
}

async function saveEvidence(gate, { id, decisions = [] }, signal) {
  if (decisions.length === 0) return '';
  try {
    const deadline = performance.now() + EVIDENCE_PATIENCE_MILLISECONDS;
    const bytes = await untilAnswered(() => gate.evidence(id, signal), { deadline, signal });
    const path = join(process.env.RUNNER_TEMP || tmpdir(), `countersign-${id}.evidence.json`);
    writeFileSync(path, bytes);
    log(`Evidence saved to ${path}.`);
    return path;
  } catch (error) {
    signal.throwIfAborted();
    annotate('warning', 'No evidence file', `The evidence could not be saved and stays at the gate: ${error.message}`);
    return '';
  }
}

function link({ url }) {
  const address = webAddress(url);
  return address ? `<a href="${html(address)}">Open the approval</a>` : html(url);
}

export function code(value) {
  return value ? `<code>${html(value)}</code>` : '';
}

/** A table for the summary. Cells are HTML already; rows without a value are left out. */
export function block(heading, introduction, rows) {
  const filled = rows.filter(([, cell]) => cell !== '');
  const table = filled.map(([name, cell]) => `<tr><th align="left">${name}</th><td>${cell}</td></tr>`);
  const lines = [`<h3>${html(heading)}</h3>`, `<p>${introduction}</p>`];
  if (table.length > 0) lines.push('<table>', ...table, '</table>');
  return lines.join('\n');
}

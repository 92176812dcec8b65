// The step itself: run the verifier, and compare what it says with what this workflow is about to use.
import { Failure } from '../scripts/failure.mjs';
import { block, code } from '../scripts/report.mjs';
import { annotate, appendSummary, log, setOutputs } from '../scripts/runner.mjs';
import { runStep } from '../scripts/step.mjs';
import { html } from '../scripts/text.mjs';
import { readInputs } from './inputs.mjs';
import { downloadProgram, verify } from './program.mjs';

async function main(signal) {
  const inputs = readInputs(process.env);
  const program = inputs.download ? await downloadProgram(inputs.download, signal) : inputs.program;
  const report = await verify(program, inputs.evidence, inputs.trust, signal);
  log(report.sentence);
  const refusal = refusalOf(report, inputs);
  summarise(report, refusal);
  if (refusal) throw refusal;
  setOutputs({
    'approval-id': report.approval,
    status: report.status,
    image: report.image,
    service: report.service,
    environment: report.environment,
    'deployment-digest': report.deployment_digest,
    approvers: JSON.stringify(report.approvers.map(({ name, subject, issuer, decision, decided_at }) => ({ name, subject, issuer, decision, decided_at }))),
  });
  annotate('notice', 'Evidence holds', `${report.approval} approved ${report.image} for ${report.service}, signed by ${people(report)}.`);
}

// Genuine evidence of something else is no evidence for this artifact.
function refusalOf(report, { digest, service, environment }) {
  if (report.verdict === 'invalid') return new Failure('Evidence does not hold', `${report.sentence} (${report.code})`);
  if (report.verdict !== 'approved') return new Failure('Not approved', report.sentence);
  const signed = String(report.image).split('@').at(-1);
  if (signed !== digest) {
    return new Failure('Another artifact', `The approval is for ${signed}, and the artifact here is ${digest}.`);
  }
  for (const [name, wanted] of [['service', service], ['environment', environment]]) {
    if (wanted !== undefined && report[name] !== wanted) {
      return new Failure(`Another ${name}`, `The approval is for the ${name} ${report[name]}, and ${wanted} is asked for here.`);
    }
  }
  return undefined;
}

function people({ approvers }) {
  return approvers.filter(({ decision }) => ['approve', 'break_glass'].includes(decision)).map(({ name }) => name).join(', ');
}

function summarise(report, refusal) {
  const heading = refusal ? refusal.title : 'Evidence holds';
  appendSummary(block(heading, html(refusal ? refusal.message : report.sentence), [
    ['Approval', code(report.approval)],
    ['Status', html(report.status)],
    ['Image', code(report.image)],
    ['Service', code(report.service)],
    ['Environment', html(report.environment)],
    ['Signed by', html(report.approvers.map(({ name, decision, decided_at }) => `${name} (${decision}, ${decided_at})`).join('; '))],
    ['Short code', code(report.short_code)],
    ['What was checked', html(report.checks.join('; '))],
  ]));
}

await runStep(main);

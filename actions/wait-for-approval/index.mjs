// The step itself: look what somebody asked for, wait for its end, report it. It asks for nothing and takes
// nothing back: that is for whoever asked.
import { Gate } from '../scripts/gate.mjs';
import { identityTokens } from '../scripts/identity.mjs';
import { announceWait, conclude } from '../scripts/report.mjs';
import { ASKING_PATIENCE_MILLISECONDS, untilAnswered } from '../scripts/retry.mjs';
import { log } from '../scripts/runner.mjs';
import { runStep } from '../scripts/step.mjs';
import { hasEnded, untilEnded } from '../scripts/wait.mjs';
import { readInputs } from './inputs.mjs';

async function main(signal) {
  const { gateUrl, audience, approvalId, timeoutMilliseconds } = readInputs(process.env);
  const gate = new Gate(gateUrl, identityTokens(process.env, audience));
  const deadline = performance.now() + timeoutMilliseconds;
  const first = await untilAnswered(
    () => gate.read(approvalId, {}, signal),
    { deadline: Math.min(deadline, performance.now() + ASKING_PATIENCE_MILLISECONDS), signal },
  );
  announceWait(first);
  let ended = first;
  try {
    if (!hasEnded(first)) ended = await untilEnded(gate, first, { deadline, signal });
  } catch (error) {
    log(`The request stays at the gate: ${first.url}`);
    throw error;
  }
  await conclude(gate, ended, signal);
}

await runStep(main);

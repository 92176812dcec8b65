// The step itself: ask, tell people where to sign, wait for the end, report it.
import { cancelPending, forgetPending, rememberPending } from '../scripts/cancel.mjs';
import { Refusal } from '../scripts/failure.mjs';
import { Gate } from '../scripts/gate.mjs';
import { identityTokens } from '../scripts/identity.mjs';
import { announce, announceRule, conclude } from '../scripts/report.mjs';
import { ASKING_PATIENCE_MILLISECONDS, untilAnswered } from '../scripts/retry.mjs';
import { log } from '../scripts/runner.mjs';
import { runStep } from '../scripts/step.mjs';
import { untilEnded } from '../scripts/wait.mjs';
import { readInputs } from './inputs.mjs';

// The runner sends SIGINT, SIGTERM after 7.5 s and kills 2.5 s later.
const CANCELLING_MILLISECONDS = 5500;

async function main(signal) {
  const inputs = readInputs(process.env);
  const gate = new Gate(inputs.gateUrl, identityTokens(process.env, inputs.audience));
  const patience = { deadline: performance.now() + inputs.timeoutMilliseconds, signal };
  if (inputs.mode === 'wait') {
    await askAndWait(gate, inputs, patience);
    return;
  }
  announce(await ask(gate, inputs, patience), inputs.request);
  if (inputs.mode === 'rule') announceRule(inputs.request);
}

async function ask(gate, { request, idempotencyKey }, { deadline, signal }) {
  const patience = { deadline: Math.min(deadline, performance.now() + ASKING_PATIENCE_MILLISECONDS), signal };
  return untilAnswered(() => gate.create(request, idempotencyKey, signal), patience);
}

async function askAndWait(gate, inputs, patience) {
  const { gateUrl, audience, request, idempotencyKey } = inputs;
  let pending = { gateUrl, audience, request, idempotencyKey };
  rememberPending(pending);
  let ended;
  try {
    const asked = await ask(gate, inputs, patience);
    pending = { gateUrl, audience, id: asked.id };
    rememberPending(pending);
    announce(asked, request);
    ended = await untilEnded(gate, asked, patience);
  } catch (error) {
    const nothingPending = pending.id === undefined && error instanceof Refusal;
    if (nothingPending) forgetPending();
    else {
      log('Cancelling the approval, as nobody waits for it any more.');
      await cancelPending(gate, pending, CANCELLING_MILLISECONDS);
    }
    throw error;
  }
  forgetPending();
  await conclude(gate, ended, patience.signal);
}

await runStep(main);

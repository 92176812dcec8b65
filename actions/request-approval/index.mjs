// The step itself: ask, tell people where to sign, wait for the end, report it.
import { cancelPending, forgetPending, rememberPending } from './cancel.mjs';
import { Failure, Refusal } from './failure.mjs';
import { Gate } from './gate.mjs';
import { identityTokens } from './identity.mjs';
import { readInputs } from './inputs.mjs';
import { announce, conclude } from './report.mjs';
import { untilAnswered } from './retry.mjs';
import { annotate, log } from './runner.mjs';
import { untilEnded } from './wait.mjs';

// A gate that is away for longer is not restarting but broken.
const ASKING_PATIENCE_MILLISECONDS = 10 * 60_000;
// The runner sends SIGINT, SIGTERM after 7.5 s and kills 2.5 s later.
const CANCELLING_MILLISECONDS = 5500;

const interruption = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(name, () => interruption.abort(new Failure('Cancelled', 'The job was cancelled while this step was at work.')));
}

async function main() {
  const inputs = readInputs(process.env);
  const gate = new Gate(inputs.gateUrl, identityTokens(process.env, inputs.audience));
  const patience = { deadline: performance.now() + inputs.timeoutMilliseconds, signal: interruption.signal };
  if (inputs.mode === 'ask') {
    announce(await ask(gate, inputs, patience), inputs.request);
  } else {
    await askAndWait(gate, inputs, patience);
  }
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

try {
  await main();
} catch (error) {
  // A timer or a request that was interrupted throws its own error; the signal knows why.
  const failure = interruption.signal.aborted ? interruption.signal.reason : error;
  annotate('error', failure.title ?? 'Unexpected error', failure instanceof Failure ? failure.message : String(failure.stack));
  process.exitCode = 1;
}

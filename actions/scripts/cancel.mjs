// Nobody watches an approval whose job has gone, so it is cancelled. What is
// needed for that is kept in the step's state as well: should this process be
// killed, the post step finishes the work.
import { Refusal } from './failure.mjs';
import { untilAnswered } from './retry.mjs';
import { log, saveState } from './runner.mjs';

/**
 * Remembers what is pending, for the post step: `{gateUrl, audience, request,
 * idempotencyKey}` before the gate answered, and `id` as well afterwards.
 */
export function rememberPending(pending) {
  saveState('pending', JSON.stringify(pending));
}

export function forgetPending() {
  saveState('pending', '');
}

/** What the main step left behind, if anything. */
export function rememberedPending(environment) {
  return environment.STATE_pending ? JSON.parse(environment.STATE_pending) : undefined;
}

/**
 * Cancels what is pending within `milliseconds`. Answers false when the gate
 * could not be reached, so that the work is still to be done.
 */
export async function cancelPending(gate, pending, milliseconds) {
  const signal = AbortSignal.timeout(milliseconds);
  const patience = { deadline: performance.now() + milliseconds, signal };
  try {
    // Without an id the answer was lost and the approval may exist: the same key
    // finds it, or makes one that the next line closes.
    const id = pending.id
      ?? (await untilAnswered(() => gate.create(pending.request, pending.idempotencyKey, signal), patience)).id;
    await untilAnswered(() => gate.cancel(id, signal), patience);
    log(`Approval ${id} is cancelled.`);
  } catch (error) {
    if (!(error instanceof Refusal)) {
      log(`The approval could not be cancelled yet: ${signal.aborted ? 'the gate did not answer in time.' : error.message}`);
      return false;
    }
    log(`The approval was not cancelled: ${error.message}`);
  }
  forgetPending();
  return true;
}

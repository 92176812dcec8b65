// Runs when the job ends. The main step cancels its approval itself when it can;
// this finishes the work when it was killed before it could.
import { cancelPending, rememberedPending } from '../scripts/cancel.mjs';
import { Gate } from '../scripts/gate.mjs';
import { identityTokens } from '../scripts/identity.mjs';
import { annotate, log } from '../scripts/runner.mjs';

const CANCELLING_MILLISECONDS = 60_000;

try {
  const pending = rememberedPending(process.env);
  if (pending) {
    log('The step ended without seeing the end of its approval; cancelling it.');
    const gate = new Gate(pending.gateUrl, identityTokens(process.env, pending.audience));
    const done = await cancelPending(gate, pending, CANCELLING_MILLISECONDS);
    if (!done) annotate('warning', 'Approval left open', `Approval ${pending.id ?? ''} at ${pending.gateUrl} may still be open.`);
  }
} catch (error) {
  annotate('warning', 'Approval left open', error.message);
}

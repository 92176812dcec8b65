// Following an approval to its end by long polls.
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure, Refusal } from './failure.mjs';
import { REMINDER_MILLISECONDS, untilAnswered } from './retry.mjs';
import { log } from './runner.mjs';

// GitHub's tokens live for five minutes and proxies give up after one: a poll
// of 50 seconds is safe under both.
const POLL_SECONDS = 50;
// A gate that is shutting down answers its waiters at once. Without a pause a
// fleet of jobs would turn that into a storm.
const SHORTEST_ROUND_MILLISECONDS = 1000;
// A gate that has just started may not have GitHub's keys yet.
const TOLERATED_UNAUTHORISED_ANSWERS = 3;

const ENDS = new Set([
  'succeeded', 'failed', 'rolled_back', 'needs_attention', 'rejected', 'expired', 'cancelled', 'superseded', 'withdrawn',
]);

export function hasEnded(approval) {
  return ENDS.has(approval.status);
}

/** The gate's own sentence about the approval, or ours where it gave none. */
export function sentenceOf(approval) {
  return approval.status_sentence || `The approval is ${approval.status}.`;
}

/** Answers with the approval in its last state. Throws a `Failure` when `deadline` passes before. */
export async function untilEnded(gate, approval, { deadline, signal }) {
  // The answer to a repeated request may be an approval that has ended; read it whole.
  let current = hasEnded(approval) ? await poll(gate, approval, {}, { deadline, signal }) : approval;
  const reminder = { since: performance.now(), last: performance.now() };
  while (!hasEnded(current)) {
    const started = performance.now();
    const remaining = deadline - started;
    if (remaining <= 0) throw tooLate(current);
    const waitSeconds = Math.min(POLL_SECONDS, Math.max(1, Math.floor(remaining / 1000)));
    const next = await poll(gate, current, { version: current.version, waitSeconds }, { deadline, signal });
    mention(current, next, reminder);
    if (next.version === current.version) {
      const rest = SHORTEST_ROUND_MILLISECONDS - (performance.now() - started);
      if (rest > 0) await sleep(rest, undefined, { signal });
    }
    current = next;
  }
  return current;
}

async function poll(gate, { id }, question, patience) {
  for (let unauthorised = 1; ; unauthorised += 1) {
    try {
      return await untilAnswered(() => gate.read(id, question, patience.signal), patience);
    } catch (error) {
      const passing = error instanceof Refusal && error.status === 401 && unauthorised < TOLERATED_UNAUTHORISED_ANSWERS;
      if (!passing) throw error;
      log(`The gate did not accept the identity token, asking again with another: ${error.message}`);
      await sleep(SHORTEST_ROUND_MILLISECONDS * unauthorised, undefined, { signal: patience.signal });
    }
  }
}

// One line for each change, and a sign of life now and then.
function mention(before, after, reminder) {
  const now = performance.now();
  if (before.status !== after.status || sentenceOf(before) !== sentenceOf(after)) {
    log(`Status ${after.status}: ${sentenceOf(after)}`);
    reminder.last = now;
  } else if (now - reminder.last >= REMINDER_MILLISECONDS) {
    log(`Still ${after.status} after ${Math.round((now - reminder.since) / 60_000)} minutes: ${after.url}`);
    reminder.last = now;
  }
}

function tooLate({ status }) {
  return new Failure('Nobody decided in time', status === 'pending'
    ? 'The timeout of this step passed before the approval was decided. Ask again when somebody can sign, or give a longer timeout.'
    : `The timeout of this step passed while the approval was ${status}. Its page says how it went on.`);
}

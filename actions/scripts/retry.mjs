// Patience with an outage: the same question again, with growing pauses, as long
// as nobody knows the answer.
import { setTimeout as sleep } from 'node:timers/promises';
import { NoAnswer } from './failure.mjs';
import { log } from './runner.mjs';

const FIRST_PAUSE_MILLISECONDS = 1000;
const LONGEST_PAUSE_MILLISECONDS = 30_000;
/** A gate that is away for longer before it ever answered is not restarting but broken. */
export const ASKING_PATIENCE_MILLISECONDS = 10 * 60_000;
/** How often a state that does not change is mentioned in the log. */
export const REMINDER_MILLISECONDS = 5 * 60_000;

/** Doubles from one second to thirty; the jitter keeps many waiting jobs apart after an outage. */
export function pauseAfter(failures, random = Math.random) {
  const ceiling = Math.min(FIRST_PAUSE_MILLISECONDS * 2 ** failures, LONGEST_PAUSE_MILLISECONDS);
  return ceiling / 2 + random() * (ceiling / 2);
}

/**
 * Runs `operation` until it answers or refuses. Throws the last `NoAnswer` when
 * the next pause would pass `deadline` (on the clock of `performance.now()`), and
 * the reason of `signal` when that is aborted.
 */
export async function untilAnswered(operation, { deadline, signal }) {
  let lastMentioned = -Infinity;
  for (let failures = 0; ; failures += 1) {
    try {
      const answer = await operation();
      if (failures > 0) log('The gate answers again.');
      return answer;
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      const pause = Math.max(pauseAfter(failures), error.retryAfterMilliseconds ?? 0);
      const now = performance.now();
      if (now + pause > deadline) throw error;
      if (now - lastMentioned >= REMINDER_MILLISECONDS) {
        log(`No answer yet, asking again: ${error.message}`);
        lastMentioned = now;
      }
      await sleep(pause, undefined, { signal });
    }
  }
}

// What every step does around its own work: it ends when the runner says so, and what goes wrong becomes
// one annotation and a red step.
import { Failure } from './failure.mjs';
import { annotate } from './runner.mjs';

/** Runs `work(signal)`; the signal is aborted when the job is cancelled. */
export async function runStep(work) {
  const interruption = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(name, () => interruption.abort(new Failure('Cancelled', 'The job was cancelled while this step was at work.')));
  }
  try {
    await work(interruption.signal);
  } catch (error) {
    // A timer or a request that was interrupted throws its own error; the signal knows why.
    const failure = interruption.signal.aborted ? interruption.signal.reason : error;
    annotate('error', failure.title ?? 'Unexpected error', failure instanceof Failure ? failure.message : String(failure.stack));
    process.exitCode = 1;
  }
}

// What a step may tell the runner: log lines, annotations, masks, and the files
// that carry outputs, state and summary.
import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { commandMessage, commandProperty, inertLine } from './text.mjs';

export function log(message) {
  process.stdout.write(`${inertLine(message)}\n`);
}

/** An annotation of the run; `level` is notice, warning or error. */
export function annotate(level, title, message) {
  process.stdout.write(`::${level} title=${commandProperty(title)}::${commandMessage(message)}\n`);
}

/** The runner hides the value in every later line of the log. */
export function mask(secret) {
  process.stdout.write(`::add-mask::${commandMessage(secret)}\n`);
}

/** Sets outputs of the step; the last value of a name counts. */
export function setOutputs(outputs) {
  for (const [name, value] of Object.entries(outputs)) {
    appendVariable('GITHUB_OUTPUT', name, value ?? '');
  }
}

/** Keeps a value for the post step, which reads it as `STATE_name`. */
export function saveState(name, value) {
  appendVariable('GITHUB_STATE', name, value);
}

/** Adds one HTML block to the job summary. */
export function appendSummary(block) {
  const file = process.env.GITHUB_STEP_SUMMARY;
  if (file) appendFileSync(file, `${block}\n\n`);
}

// The delimiter is random, so that no value can close its own block and begin
// another variable.
function appendVariable(variable, name, value) {
  const file = process.env[variable];
  if (!file) return;
  const delimiter = `countersign_${randomUUID()}`;
  appendFileSync(file, `${name}<<${delimiter}\n${value}\n${delimiter}\n`);
}

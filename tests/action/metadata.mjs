// What action.yml says, as far as tests need it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ACTIONS } from './step.mjs';

const read = (action) => readFileSync(join(ACTIONS, action, 'action.yml'), 'utf8');

function block(action, section) {
  return new RegExp(`^${section}:\\n((?:  .*\\n)+)`, 'm').exec(read(action))[1];
}

/** The inputs or outputs of an action. */
export function keysOf(action, section) {
  return [...block(action, section).matchAll(/^ {2}([\w-]+):/gm)].map(([, key]) => key);
}

/** The inputs that have to be given. */
export function requiredInputs(action) {
  const one = /^ {2}([\w-]+):\n(?: {4}.*\n)* {4}required: true$/gm;
  return [...block(action, 'inputs').matchAll(one)].map(([, key]) => key);
}

/** What a pattern finds in action.yml. */
export function namesIn(action, pattern) {
  return [...read(action).matchAll(pattern)].map(([, name]) => name);
}

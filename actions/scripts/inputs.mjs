// Reading inputs as the runner passes them, in `INPUT_…` variables. What is wrong with one is said
// before anything is sent.
import { Failure } from './failure.mjs';

const UNIT_MILLISECONDS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Two readers: of inputs that may be absent, and of those that may not. */
export function inputReaders(environment) {
  const optional = (name) => environment[`INPUT_${name.toUpperCase()}`]?.trim() || undefined;
  const required = (name) => {
    const value = optional(name);
    if (value === undefined) throw wrong(name, 'is missing: give it under `with:`.');
    return value;
  };
  return { optional, required };
}

export function readGateUrl(text) {
  let address;
  try {
    address = new URL(text);
  } catch {
    throw wrong('gate-url', `is "${text}", which is no address: write it like https://gate.example.com.`);
  }
  // The identity token travels with every request, so nobody on the way may read it.
  const loopback = ['localhost', '127.0.0.1', '[::1]'].includes(address.hostname);
  if (address.protocol !== 'https:' && !(address.protocol === 'http:' && loopback)) {
    throw wrong('gate-url', 'must begin with https:// (http:// is accepted on this machine alone).');
  }
  if (address.username || address.password || address.search || address.hash) {
    throw wrong('gate-url', 'must be a bare address without user, query or fragment.');
  }
  return text.replace(/\/+$/, '');
}

/** Milliseconds. */
export function readDuration(name, text) {
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  if (!match || Number(match[1]) === 0) throw wrong(name, `is "${text}": write it like 45s, 90m or 6h.`);
  return Number(match[1]) * UNIT_MILLISECONDS[match[2]];
}

export function readJson(name, text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw wrong(name, `is not valid JSON: ${error.message}`);
  }
}

export function wrong(name, sentence) {
  return new Failure(`Input ${name}`, `The input ${name} ${sentence}`);
}

// The gate that a test talks to: our fake; with COUNTERSIGN_GATE=demo that of
// `countersign demo`; or any real one that is named by COUNTERSIGN_GATE_URL and
// COUNTERSIGN_TOKEN_URL (the sandbox's …/github/runner-token?x=1), where
// COUNTERSIGN_ENVIRONMENT, COUNTERSIGN_SERVICE and COUNTERSIGN_IMAGE say what
// may be asked for.
import { startDemo } from '../harness/demo.mjs';
import { FakeGate, REQUEST_TOKEN } from './fake_gate.mjs';
import { IMAGE, SERVICE } from './step.mjs';

/** Whether nobody is asked to sign, because the gate is our fake. */
export const GATE_IS_FAKE = !process.env.COUNTERSIGN_GATE && !process.env.COUNTERSIGN_GATE_URL;

/** The gate of `countersign demo`, as the tests here know a gate. */
export function gateOfDemo(demo) {
  const target = { environment: 'production', service: SERVICE, image: IMAGE };
  return { url: demo.gate, tokenUrl: `${demo.sandbox}/github/runner-token?x=1`, target, stop: demo.stop };
}

export async function gateUnderTest() {
  const { env } = process;
  const target = {
    environment: env.COUNTERSIGN_ENVIRONMENT ?? 'production',
    service: env.COUNTERSIGN_SERVICE ?? SERVICE,
    image: env.COUNTERSIGN_IMAGE ?? IMAGE,
  };
  if (Boolean(env.COUNTERSIGN_GATE_URL) !== Boolean(env.COUNTERSIGN_TOKEN_URL)) {
    throw new Error('Set COUNTERSIGN_GATE_URL and COUNTERSIGN_TOKEN_URL together, or neither.');
  }
  if (env.COUNTERSIGN_GATE === 'demo') return gateOfDemo(await startDemo());
  if (env.COUNTERSIGN_GATE_URL) {
    const url = env.COUNTERSIGN_GATE_URL.replace(/\/+$/, '');
    return { url, tokenUrl: env.COUNTERSIGN_TOKEN_URL, target, stop: async () => {} };
  }
  const fake = await FakeGate.start();
  return { url: fake.url, tokenUrl: fake.tokenUrl, target, fake, stop: () => fake.stop() };
}

/** Calls the gate as the pipeline's identity. */
export async function call(gate, method, path, body) {
  const address = new URL(gate.tokenUrl);
  address.searchParams.set('audience', gate.url);
  const answer = await fetch(address, { headers: { authorization: `bearer ${REQUEST_TOKEN}` } });
  const { value } = await answer.json();
  const response = await fetch(gate.url + path, {
    method,
    headers: { authorization: `Bearer ${value}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
}

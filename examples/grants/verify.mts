// Lets one call through that people signed: the enforcement point of a tool, in TypeScript without dependencies.
//
//     node verify.mts GATE AUDIENCE TOOL < CALL
//
// CALL is {"grant": "...", "arguments": {...}}, as an agent presents it. Exit code 0 and the arguments on standard
// output: call the tool with these now, once. Anything else: do not. The types stand in comments, so that every
// version of Node runs the file as it is (before 22, under the name verify.mjs).

import { createPublicKey, verify } from 'node:crypto';
import { text } from 'node:stream/consumers';

/** @typedef {{ grant: string, arguments: Record<string, unknown> }} Call */

/** @param {string} part */
const decoded = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());

/** @param {string} url @param {unknown} [body] */
async function read(url, body) {
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await fetch(url, { signal: AbortSignal.timeout(20_000), ...(body ? post : {}) });
  const said = await answer.json();
  if (answer.status !== 200) throw new Error(said.detail);
  return said;
}

/**
 * The arguments to call the tool with. Throws whatever stands in the way.
 * @param {string} gate @param {string} audience @param {string} tool @param {Call} call
 */
export async function letThrough(gate, audience, tool, call) {
  // 1. The gate signed it, for us, for this tool, and its time is not over. No more than a cheap first look:
  //    a token that nobody used yet looks like one that was used.
  const [header, claims, signature] = call.grant.split('.');
  const { alg, typ, kid } = decoded(header);
  const { keys } = await read(`${gate}/.well-known/jwks.json`);
  const key = keys.find((/** @type {{ kid: string }} */ one) => one.kid === kid);
  const isSigned =
    alg === 'EdDSA' &&
    typ === 'countersign-grant+jwt' &&
    key &&
    verify(
      null,
      Buffer.from(`${header}.${claims}`),
      createPublicKey({ key, format: 'jwk' }),
      Buffer.from(signature, 'base64url'),
    );
  const said = decoded(claims);
  const isOurs = said.iss === gate && said.aud === audience && said.tool === tool;
  if (!isSigned || !isOurs || Date.now() / 1000 >= said.exp) {
    throw new Error('this is no grant for this tool that is valid now');
  }
  // 2. The gate uses it up, for exactly these arguments. Only its 200 lets the call through.
  const used = await read(`${gate}/v1/grants/consume`, { ...call, audience });
  return used.arguments;
}

const [gate, audience, tool] = process.argv.slice(2);
if (tool) {
  try {
    const call = JSON.parse(await text(process.stdin));
    console.log(JSON.stringify(await letThrough(gate, audience, tool, call)));
  } catch (error) {
    console.error(`refused: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}

// What every signature of a statement shares: the checks before it, the key, and what is said meanwhile.

import { Problem, decode, encode, post, refusalOf, show, whyUnable } from "./ceremony.js";

const PAYLOAD_TYPE = "application/vnd.in-toto+json";

/** SHA-256 as lower-case hexadecimal characters. */
export async function digestOf(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The text that an element shows; characters shown by name become themselves again. */
export function shownText(element) {
  const copy = element.cloneNode(true);
  for (const mark of copy.querySelectorAll(".mark")) {
    mark.replaceWith(String.fromCodePoint(Number.parseInt(mark.dataset.code, 16)));
  }
  return copy.textContent;
}

/** DSSE v1 pre-authentication encoding of the statement. */
function preAuthenticationEncoding(statement) {
  const text = new TextEncoder();
  const body = text.encode(statement);
  const head = text.encode(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${body.length} `);
  const encoded = new Uint8Array(head.length + body.length);
  encoded.set(head);
  encoded.set(body, head.length);
  return encoded;
}

/** Why nothing is signed when the gate asks for something else than the page shows. */
const differs = () =>
  new Problem(
    "The gate asks for a signature on something else than this page shows",
    "nothing was signed. Load the page again; if it happens again, tell the people who run the gate",
  );

/** The request options, if their challenge is the digest of the statement. */
export async function checkChallenge(prepared) {
  const bytes = preAuthenticationEncoding(prepared.statement);
  const challenge = encode(await crypto.subtle.digest("SHA-256", bytes));
  const options = prepared.request_options.publicKey ?? prepared.request_options;
  if (challenge !== prepared.challenge || challenge !== options.challenge) {
    throw differs();
  }
  return options;
}

/** The browser's form of the request options, made by hand since older browsers cannot. */
function requestOptions(options) {
  const descriptor = (credential) => ({ ...credential, id: decode(credential.id) });
  return {
    ...options,
    challenge: decode(options.challenge),
    allowCredentials: (options.allowCredentials ?? []).map(descriptor),
  };
}

function assertionJson(credential) {
  const { authenticatorData, clientDataJSON, signature, userHandle } = credential.response;
  return {
    id: credential.id,
    rawId: encode(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    clientExtensionResults: credential.getClientExtensionResults(),
    response: {
      authenticatorData: encode(authenticatorData),
      clientDataJSON: encode(clientDataJSON),
      signature: encode(signature),
      userHandle: userHandle ? encode(userHandle) : null,
    },
  };
}

/** Has the person's key sign, and gives the assertion as the gate reads it. */
export async function sign(message, options) {
  show(message, "Use your key now: touch it, or follow the browser’s dialog.");
  const credential = await navigator.credentials.get({ publicKey: requestOptions(options) });
  show(message, "Signed. The gate is checking the signature…");
  return assertionJson(credential);
}

/**
 * Has the person's key sign a prepared statement: nothing is signed unless the challenge is the statement's
 * digest, the statement is for this gate, and `isShown` finds in it what the page shows. Gives what is posted
 * back.
 */
export async function signPrepared(message, prepared, isShown) {
  const options = await checkChallenge(prepared);
  const statement = JSON.parse(prepared.statement);
  if (statement.predicate.audience !== location.origin || !(await isShown(statement, prepared))) {
    throw differs();
  }
  return { nonce: prepared.nonce, credential: await sign(message, options) };
}

/** Has the gate prepare a statement, and the person's key sign it. `signed` is what is posted back. */
export async function signStatement(message, address, wanted, isShown) {
  show(message, "Preparing what you sign…");
  const prepared = await post(address, wanted);
  return { prepared, signed: await signPrepared(message, prepared, isShown) };
}

/** Says why nothing was signed, with a sign-in that leads back here if the session ended. */
export function showRefusal(message, error, doing, signIn = null) {
  show(message, refusalOf(error, doing), { tone: "bad", signIn: error.sessionEnded ? signIn : null });
}

/** Says beforehand where the browser cannot use keys; whether it can. */
export function canSign(unable) {
  const why = whyUnable();
  unable.hidden = !why;
  unable.textContent = why ?? "";
  return !why;
}

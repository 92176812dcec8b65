// What registering and signing share: base64url, requests to the gate, and clear sentences for
// what can go wrong.

/** base64url without padding (RFC 4648, section 5), as WebAuthn's JSON writes bytes. */
export function encode(buffer) {
  const binary = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The bytes of a base64url text. */
export function decode(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** A sentence of the gate for the person, with what it was about. */
export class Problem extends Error {
  constructor(title, detail, status) {
    super(detail ? `${title}: ${detail}` : title);
    this.status = status;
  }

  get sessionEnded() {
    return this.status === 401;
  }
}

/** Posts JSON to the gate and gives its JSON answer, or throws a Problem. */
export async function post(path, body) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify(body),
      credentials: "same-origin",
      redirect: "error",
    });
  } catch {
    throw new Problem("The gate did not answer", "check your connection and try again. Nothing was lost");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const title = answer.title ?? `The gate answered with an error (${response.status})`;
    throw new Problem(title, answer.detail ?? "try again", response.status);
  }
  return answer;
}

/** Why this browser cannot use keys, and what to do; null if it can. */
export function whyUnable() {
  if (!window.isSecureContext) {
    return "This page was not loaded over https, so the browser does not let it use keys. Open the gate by its https address.";
  }
  if (!window.PublicKeyCredential || !navigator.credentials || !crypto.subtle) {
    return "This browser cannot use security keys or passkeys. If you came here from inside an app, open this page in your usual browser instead; the link stays the same.";
  }
  return null;
}

/** A sentence for what the browser's own dialog said. */
export function refusalOf(error, doing) {
  if (error instanceof Problem) {
    return error.message;
  }
  switch (error?.name) {
    case "NotAllowedError":
    case "AbortError":
      return `The key was not used: the dialog was closed, or it took too long. Nothing was sent; you can ${doing} again.`;
    case "InvalidStateError":
      return "This key is registered already. Use another one.";
    case "SecurityError":
      return "The browser refused: this page's address is not the one that the gate was set up for. Tell the people who run it.";
    case "NotSupportedError":
    case "ConstraintError":
      return "This key cannot do what is asked: it has to check a PIN, finger or face. Use another one, or set a PIN first.";
    default:
      return `Something unexpected happened in the browser (${error?.name ?? "unknown"}: ${error?.message ?? ""}). Nothing was sent; try again.`;
  }
}

/** Shows a sentence, with a sign-in that leads back here if the session ended. */
export function show(element, sentence, { tone = "", signIn = null } = {}) {
  element.className = `message ${tone}`;
  element.replaceChildren(sentence);
  if (signIn) {
    const link = document.createElement("a");
    link.href = signIn;
    link.textContent = "Sign in again";
    element.append(" ", link);
  }
  element.scrollIntoView({ block: "nearest" });
}

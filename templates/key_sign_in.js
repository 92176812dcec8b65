// Signing in with a key alone, while the directory cannot be reached.

import { post, show } from "./ceremony.js";
import { canSign, showRefusal, signStatement } from "./signing.js";

const KEY_SIGN_IN = "urn:countersign:predicate:key-sign-in:v1";

const button = document.getElementById("sign-in-with-key");
const message = document.getElementById("message");
const returnTo = document.getElementById("main").dataset.returnTo;

/** Nothing is signed here but that somebody signs in at this gate. */
const isSignIn = ({ predicateType, predicate }) =>
  predicateType === KEY_SIGN_IN && Object.keys(predicate).sort().join() === "audience,expires_at,issued_at,nonce";

async function signIn() {
  button.disabled = true;
  try {
    const wanted = { return_to: returnTo };
    const { signed } = await signStatement(message, "/sign-in/key/statements", wanted, isSignIn);
    const { continue: next } = await post("/sign-in/key/sessions", signed);
    show(message, "You are signed in.", { tone: "good" });
    location.assign(next);
  } catch (error) {
    showRefusal(message, error, "sign in");
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

button.disabled = !canSign(document.getElementById("unable"));
button.addEventListener("click", signIn);

// Registering a key.

import { decode, encode, post, show } from "./ceremony.js";
import { canSign, digestOf, showRefusal, signPrepared } from "./signing.js";

const find = (id) => document.getElementById(id);
const button = find("register-button");
const message = find("message");

/** The browser's form of the creation options, made by hand since older browsers cannot. */
function creationOptions(options) {
  const descriptor = (credential) => ({ ...credential, id: decode(credential.id) });
  return {
    ...options,
    challenge: decode(options.challenge),
    user: { ...options.user, id: decode(options.user.id) },
    excludeCredentials: (options.excludeCredentials ?? []).map(descriptor),
  };
}

function registrationJson(credential) {
  const { attestationObject, clientDataJSON } = credential.response;
  return {
    id: credential.id,
    rawId: encode(credential.rawId),
    type: credential.type,
    extensions: credential.getClientExtensionResults(),
    response: {
      attestationObject: encode(attestationObject),
      clientDataJSON: encode(clientDataJSON),
      transports: credential.response.getTransports?.() ?? [],
    },
  };
}

/** Has a key that the person has sign for exactly the new one, and gives what comes next. */
async function signForIt(address, prepared, registration) {
  const digest = await digestOf(new TextEncoder().encode(JSON.stringify(registration)));
  const isShown = ({ subject }) =>
    subject.length === 1 && subject[0].name === registration.id && subject[0].digest.sha256 === digest;
  show(message, "The new key was made. Now use a key that you had before, to sign that the new one is yours too.");
  return post(`${address}/signatures`, await signPrepared(message, prepared, isShown));
}

async function register(event) {
  event.preventDefault();
  button.disabled = true;
  try {
    show(message, "Preparing…");
    const ceremony = await post("/keys/ceremonies", { name: find("name").value.trim() });
    const options = ceremony.creation_options.publicKey ?? ceremony.creation_options;
    show(message, "Use your key now: touch it, or follow the browser’s dialog.");
    const credential = await navigator.credentials.create({ publicKey: creationOptions(options) });
    const address = `/keys/ceremonies/${ceremony.id}`;
    const registration = registrationJson(credential);
    let answer = await post(address, registration);
    if (answer.own_key) {
      answer = await signForIt(address, answer.own_key, registration);
    }
    show(message, "The key was made. Your directory has to confirm it: you are sent to sign in…");
    location.assign(answer.continue);
  } catch (error) {
    showRefusal(message, error, "try", document.querySelector("main").dataset.signIn);
    button.disabled = false;
  }
}

button.disabled = !canSign(find("unable"));
find("register").addEventListener("submit", register);

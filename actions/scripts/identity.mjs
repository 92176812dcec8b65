// The job's identity: a short-lived token that GitHub signs for one audience.
import { Failure, NoAnswer, Refusal, networkCause } from './failure.mjs';
import { mask } from './runner.mjs';

const TOKEN_TIMEOUT_MILLISECONDS = 15_000;

/**
 * Returns a function that fetches a fresh token. A token lives for minutes and a
 * wait for hours, and the gate lets a token create one approval only, so no
 * token is kept: each request asks for its own.
 */
export function identityTokens(environment, audience) {
  const requestUrl = environment.ACTIONS_ID_TOKEN_REQUEST_URL;
  const requestToken = environment.ACTIONS_ID_TOKEN_REQUEST_TOKEN;
  if (!requestUrl || !requestToken) {
    throw new Failure(
      'The job may not ask for an identity token',
      'Add `permissions: id-token: write` to the job (or to the workflow), so that the gate can tell who asks. '
        + 'GitHub never grants it to pull requests from forks.',
    );
  }
  const address = new URL(requestUrl);
  address.searchParams.set('audience', audience);

  return async function freshToken(signal) {
    const response = await answerOf(address, requestToken, signal);
    if (response.status === 429 || response.status >= 500) {
      throw new NoAnswer(`GitHub's token service answered ${response.status}.`);
    }
    if (!response.ok) {
      throw new Refusal('No identity token', `GitHub's token service answered ${response.status} when asked for an `
        + 'identity token: check `permissions: id-token: write` and the audience.', response.status);
    }
    const token = (await response.json().catch(() => undefined))?.value;
    if (typeof token !== 'string' || !/^[\w.~+/=-]+$/.test(token)) {
      throw new NoAnswer("GitHub's token service answered without a token.");
    }
    mask(token);
    return token;
  };
}

async function answerOf(address, requestToken, signal) {
  try {
    return await fetch(address, {
      headers: { authorization: `bearer ${requestToken}`, accept: 'application/json' },
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(TOKEN_TIMEOUT_MILLISECONDS)]),
    });
  } catch (error) {
    signal.throwIfAborted();
    throw new NoAnswer(`GitHub's token service could not be reached (${networkCause(error)}).`);
  }
}

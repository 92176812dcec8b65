// The gate's API, as far as a pipeline needs it. Every request carries a fresh
// identity token; every answer is an approval, a Refusal or a NoAnswer.
import { NoAnswer, Refusal, networkCause } from './failure.mjs';
import { oneLine } from './text.mjs';

const REQUEST_TIMEOUT_MILLISECONDS = 30_000;
// The gate answers a long poll after at most `wait` seconds; a proxy may add some.
const POLL_MARGIN_MILLISECONDS = 20_000;
// A longer pause than this would outlive a short outage for no gain.
const LONGEST_RETRY_AFTER_MILLISECONDS = 120_000;

export class Gate {
  /** `freshToken(signal)` answers with a new bearer token for this gate. */
  constructor(url, freshToken) {
    this.url = url;
    this.freshToken = freshToken;
  }

  /** Creates the approval, or finds the one that this key created before. */
  async create(request, idempotencyKey, signal) {
    const response = await this.#send('POST', '/v1/approvals', {
      headers: { 'idempotency-key': idempotencyKey },
      body: request,
      signal,
    });
    const approval = approvalIn(response);
    if (!approval) {
      throw new Refusal('No approval', `${this.url} accepted the request and answered something that is no approval: is gate-url the address of the gate?`);
    }
    return approval;
  }

  /** The approval now, or as soon as it is newer than `version`, or after `waitSeconds`. */
  async read(id, { version, waitSeconds }, signal) {
    const query = new URLSearchParams();
    if (waitSeconds !== undefined) query.set('wait', String(waitSeconds));
    if (version !== undefined) query.set('version', String(version));
    const timeout = (waitSeconds ?? 0) * 1000 + POLL_MARGIN_MILLISECONDS;
    const question = query.size > 0 ? `?${query}` : '';
    return this.#approvalOf(await this.#send('GET', `/v1/approvals/${id}${question}`, { timeout, signal }));
  }

  /** Any success counts: whether the gate shows the cancelled approval is its affair. */
  async cancel(id, signal) {
    await this.#send('POST', `/v1/approvals/${id}/cancel`, { body: {}, signal });
  }

  /** The bytes of the evidence file, as the gate made them. */
  async evidence(id, signal) {
    const { bytes } = await this.#send('GET', `/v1/approvals/${id}/evidence`, { signal });
    return bytes;
  }

  // While an approval is waited for, a proxy's own page is an outage, not an answer.
  #approvalOf(response) {
    const approval = approvalIn(response);
    if (!approval) throw new NoAnswer(`${this.url} answered something that is no approval.`);
    return approval;
  }

  async #send(method, path, { headers = {}, body, timeout = REQUEST_TIMEOUT_MILLISECONDS, signal }) {
    const token = await this.freshToken(signal);
    const content = body === undefined ? {} : { 'content-type': 'application/json' };
    let response;
    let bytes;
    try {
      response = await fetch(this.url + path, {
        method,
        headers: { authorization: `Bearer ${token}`, accept: 'application/json', ...content, ...headers },
        body: body === undefined ? undefined : JSON.stringify(body),
        // Following a redirect would hand the token to whoever it points to.
        redirect: 'manual',
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
      });
      bytes = Buffer.from(await response.arrayBuffer());
    } catch (error) {
      signal.throwIfAborted();
      throw new NoAnswer(`${this.url} did not answer (${networkCause(error)}).`);
    }
    if (response.ok) return { bytes };
    throw this.#failureOf(method, response, bytes);
  }

  #failureOf(method, response, bytes) {
    const { status } = response;
    const isProblem = (response.headers.get('content-type') ?? '').includes('application/problem+json');
    const problem = isProblem ? jsonOf(bytes) : undefined;
    const detail = problem?.detail ?? problem?.title;
    if (status >= 300 && status < 400) {
      const target = oneLine(response.headers.get('location'));
      return new Refusal('The gate redirects', `${this.url} redirects to ${target}: give as gate-url the address that answers itself.`, status);
    }
    if (status === 408 || status === 425 || status === 429 || status >= 500) {
      return new NoAnswer(`${this.url} answered ${status}${detail ? `: ${detail}` : '.'}`, retryAfterOf(response));
    }
    // A refusal by the gate is a problem document. Anything else was said by
    // something in front of it, which may pass while an approval is waited for.
    if (!isProblem && method === 'GET') return new NoAnswer(`${this.url} answered ${status} without an explanation.`);
    const sentence = detail ?? `${this.url} answered ${status} without an explanation: is gate-url the address of the gate?`;
    return new Refusal(problem?.title ?? 'The gate refused', sentence, status);
  }
}

// The id becomes part of addresses and of a file name.
function approvalIn({ bytes }) {
  const approval = jsonOf(bytes);
  const { id, status } = approval ?? {};
  const usable = typeof id === 'string' && /^[A-Za-z0-9_-]{1,128}$/.test(id) && typeof status === 'string';
  return usable ? approval : undefined;
}

function jsonOf(bytes) {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

// RFC 9110, 10.2.3: seconds or a date, which counts by the clock of whoever names it.
function retryAfterOf(response) {
  const text = response.headers.get('retry-after');
  if (!text) return undefined;
  const milliseconds = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - (Date.parse(response.headers.get('date')) || Date.now());
  if (!Number.isFinite(milliseconds)) return undefined;
  return Math.min(Math.max(milliseconds, 0), LONGEST_RETRY_AFTER_MILLISECONDS);
}

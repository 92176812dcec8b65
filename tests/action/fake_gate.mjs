// A small gate and GitHub's token endpoint behind one real HTTP server. It keeps
// approvals over a restart, as a database would, and a journal of every request.
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

export const REQUEST_TOKEN = 'runner-request-token';

export class FakeGate {
  journal = [];
  approvals = new Map();
  #keys = new Map();
  #audiences = new Map();
  #waiters = new Set();
  #faults = [];
  /** A poll is answered after this many milliseconds at the latest, whatever it asked for. */
  longestPoll = 50;

  static async start() {
    const gate = new FakeGate();
    await gate.listen(0);
    return gate;
  }

  async listen(port) {
    this.server = createServer((request, response) => this.#serve(request, response));
    await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
    this.tokenUrl = `${this.url}/token?x=1`;
  }

  async stop() {
    this.server.closeAllConnections();
    for (const wake of this.#waiters) wake();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** The next request that matches is treated by `act(response, answer)` instead of being answered. */
  fault(pattern, act) {
    this.#faults.push({ pattern, act });
  }

  /** The requests of one kind, such as `requests('POST /v1/approvals')`. */
  requests(line) {
    return this.journal.filter((entry) => `${entry.method} ${entry.path}` === line);
  }

  polls() {
    return this.journal.filter((entry) => entry.method === 'GET' && entry.query.has('wait'));
  }

  /** The only approval. */
  get approval() {
    return [...this.approvals.values()][0];
  }

  change(id, members) {
    const approval = this.approvals.get(id);
    Object.assign(approval, members, { version: approval.version + 1 });
    for (const wake of this.#waiters) wake();
  }

  approve(id, name = 'Alice Example') {
    this.change(id, {
      status: 'approved',
      status_sentence: 'Signed; the rollout begins.',
      decisions: [{ approver: { name }, decision: 'approve', decided_at: '2026-11-24T05:00:00Z' }],
    });
  }

  succeed(id) {
    const { service } = this.approvals.get(id).subject;
    this.change(id, {
      status: 'succeeded',
      status_sentence: 'Cloud Run serves what was signed.',
      rollout: {
        service, revision: 'web-c0ffee', uri: 'https://web.example.app',
        traffic: [{ revision: 'web-c0ffee', percent: 100 }],
      },
    });
  }

  /** Plays approver and worker for every approval that comes, in a few steps. */
  approveEverything() {
    this.onCreate = async (id) => {
      for (const step of [() => this.approve(id), () => this.change(id, { status: 'executing', status_sentence: 'Rolling out.' }), () => this.succeed(id)]) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        step();
      }
    };
  }

  async #serve(request, response) {
    const { pathname, searchParams } = new URL(request.url, this.url);
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const entry = {
      method: request.method, path: pathname, query: searchParams, headers: request.headers,
      token: request.headers.authorization?.replace(/^bearer /i, ''), body: text ? JSON.parse(text) : undefined,
    };
    this.journal.push(entry);
    const line = `${request.method} ${pathname}`;
    const index = this.#faults.findIndex(({ pattern }) => pattern.test(line));
    const answer = () => this.#answer(entry);
    if (index >= 0) {
      const [{ act }] = this.#faults.splice(index, 1);
      await act(response, answer, entry);
      return;
    }
    send(response, await answer());
  }

  async #answer(entry) {
    if (entry.path === '/token') return this.#issueToken(entry);
    if (this.#audiences.get(entry.token) !== this.url) return problem(401, 'The token was not made for this gate.');
    const [, id, verb] = /^\/v1\/approvals(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(entry.path) ?? [];
    if (entry.method === 'POST' && id === undefined) return this.#create(entry);
    const approval = this.approvals.get(id);
    if (!approval) return problem(404, 'There is no such approval, or it is not yours to read.');
    if (entry.method === 'GET' && verb === 'evidence') return { status: 200, body: { id, statements: ['…'] } };
    if (entry.method === 'POST' && verb === 'cancel') return this.#cancel(approval);
    return this.#poll(approval, entry);
  }

  #issueToken(entry) {
    if (entry.headers.authorization !== `bearer ${REQUEST_TOKEN}`) return { status: 401, body: {} };
    const token = `eyJ.${randomUUID()}.sig`;
    this.#audiences.set(token, entry.query.get('audience'));
    return { status: 200, body: { count: 1, value: token } };
  }

  #create({ body, headers }) {
    if (!body.subject.image.includes('@sha256:')) return problem(422, 'The image must be named by digest.');
    const key = headers['idempotency-key'];
    const known = this.#keys.get(key);
    if (known) {
      const same = known.text === JSON.stringify(body);
      return same ? { status: 200, body: this.approvals.get(known.id) } : problem(422, 'This key was used for another request.');
    }
    const id = `apr_${Array.from(randomBytes(26), (byte) => 'abcdefghijklmnopqrstuvwxyz234567'[byte % 32]).join('')}`;
    const digest = createHash('sha256').update(id).digest('hex');
    const approval = {
      id, status: 'pending', version: 1, url: `${this.url}/approvals/${id}`,
      deployment_digest: `sha256:${digest}`, short_code: digest.slice(0, 8).toUpperCase(),
      status_sentence: 'One of two signatures is missing.', expires_at: '2026-11-25T05:00:00Z', decisions: [], subject: body.subject, environment: body.environment, batch: body.batch, batch_size: body.batch_size,
    };
    this.approvals.set(id, approval);
    this.#keys.set(key, { id, text: JSON.stringify(body) });
    this.onCreate?.(id);
    return { status: 201, body: structuredClone(approval) };
  }

  #cancel(approval) {
    if (approval.status !== 'pending') return problem(409, `The approval is ${approval.status} and cannot be cancelled.`);
    this.change(approval.id, { status: 'cancelled', status_sentence: 'The job that asked cancelled it.' });
    return { status: 200, body: approval };
  }

  async #poll(approval, { query }) {
    if (query.has('wait') && approval.version <= Number(query.get('version'))) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, Math.min(Number(query.get('wait')) * 1000, this.longestPoll));
        this.#waiters.add(() => { clearTimeout(timer); resolve(); });
      });
    }
    return { status: 200, body: structuredClone(approval) };
  }
}

export function problem(status, detail, headers = {}) {
  return { status, headers, type: 'application/problem+json', body: { type: 'about:blank', title: 'Refused', status, detail } };
}

export function send(response, { status, body, type = 'application/json', headers = {} }) {
  response.writeHead(status, { 'content-type': type, ...headers });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

// The three ways in which asking can go wrong, told apart by what to do next.

/** The step cannot go on; the message says what to change. */
export class Failure extends Error {
  constructor(title, message) {
    super(message);
    this.title = title;
  }
}

/** The gate (or GitHub's token service) understood and said no. Asking again changes nothing. */
export class Refusal extends Failure {
  constructor(title, message, status) {
    super(title, message);
    this.status = status;
  }
}

/** No usable answer: nobody knows whether the request took effect. Asking again is right. */
export class NoAnswer extends Failure {
  constructor(message, retryAfterMilliseconds) {
    super('The gate cannot be reached', message);
    this.retryAfterMilliseconds = retryAfterMilliseconds;
  }
}

/** The cause of a failed `fetch`, which Node hides one level down. */
export function networkCause(error) {
  if (error.name === 'TimeoutError') return 'no answer in time';
  return error.cause?.code ?? error.cause?.message ?? error.message;
}

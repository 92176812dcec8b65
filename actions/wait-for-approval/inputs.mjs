// The step's inputs, checked before anything is sent.
import { inputReaders, readDuration, readGateUrl, wrong } from '../scripts/inputs.mjs';

export function readInputs(environment) {
  const { optional, required } = inputReaders(environment);
  const gateUrl = readGateUrl(required('gate-url'));
  return {
    gateUrl,
    audience: optional('audience') ?? gateUrl,
    approvalId: readId(required('approval-id')),
    timeoutMilliseconds: readDuration('timeout', optional('timeout') ?? '6h'),
  };
}

// The id becomes part of an address.
function readId(text) {
  if (!/^apr_[a-z2-7]{26}$/.test(text)) {
    throw wrong('approval-id', `is "${text}": give the output approval-id of request-approval, such as apr_ and 26 letters and digits.`);
  }
  return text;
}

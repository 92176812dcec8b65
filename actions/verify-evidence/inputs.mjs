// The step's inputs, checked before anything is run.
import { accessSync, constants } from 'node:fs';
import { inputReaders, wrong } from '../scripts/inputs.mjs';

export function readInputs(environment) {
  const { optional, required } = inputReaders(environment);
  const url = optional('program-url');
  const sha256 = optional('program-sha256');
  return {
    evidence: readable('evidence', required('evidence')),
    trust: readable('trust', required('trust')),
    digest: readDigest(required('digest')),
    service: optional('service'),
    environment: optional('environment'),
    program: optional('program') ?? 'countersign',
    download: url === undefined && sha256 === undefined ? undefined : readDownload(url, sha256),
  };
}

function readable(name, path) {
  try {
    accessSync(path, constants.R_OK);
  } catch {
    throw wrong(name, `is "${path}", and no such file can be read: check out or download it in an earlier step.`);
  }
  return path;
}

function readDigest(text) {
  if (!/^sha256:[0-9a-f]{64}$/.test(text)) {
    throw wrong('digest', `is "${text}": write sha256: and 64 lower-case hexadecimal characters. A tag names no artifact.`);
  }
  return text;
}

// What judges everything else may come from nobody knows where only if its bytes are known.
function readDownload(url, sha256) {
  if (url === undefined) throw wrong('program-url', 'is missing, and program-sha256 is there: give both or neither.');
  if (sha256 === undefined || !/^[0-9a-f]{64}$/.test(sha256)) {
    throw wrong('program-sha256', 'must be the 64 lower-case hexadecimal characters of the download: what judges the evidence has to be known itself.');
  }
  const address = URL.canParse(url) ? new URL(url) : undefined;
  if (address?.protocol !== 'https:' && !['localhost', '127.0.0.1'].includes(address?.hostname)) {
    throw wrong('program-url', `is "${url}": give an address that begins with https://.`);
  }
  return { url, sha256 };
}

// The verifier: the countersign program, which trusts neither the gate nor this workflow.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure, networkCause } from '../scripts/failure.mjs';
import { log } from '../scripts/runner.mjs';
import { oneLine } from '../scripts/text.mjs';

const DOWNLOAD_MILLISECONDS = 120_000;
// The verifier reads two files and computes; seconds are much.
const VERIFYING_MILLISECONDS = 60_000;
// `countersign verify`: genuine and approved, does not hold, genuine and not approved.
const VERDICTS = { 0: 'approved', 1: 'invalid', 3: 'not_approved' };

/** Downloads the program and gives its path. Its bytes are checked before anybody may run them. */
export async function downloadProgram({ url, sha256 }, signal) {
  let bytes;
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(DOWNLOAD_MILLISECONDS)]) });
    if (!response.ok) throw new Failure('No verifier', `${url} answered ${response.status}.`);
    bytes = Buffer.from(await response.arrayBuffer());
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof Failure) throw error;
    throw new Failure('No verifier', `${url} could not be downloaded (${networkCause(error)}).`);
  }
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== sha256) {
    throw new Failure('Another verifier', `What ${url} gave has the SHA-256 ${found}, not ${sha256}: it was not run.`);
  }
  const path = join(mkdtempSync(join(process.env.RUNNER_TEMP || tmpdir(), 'countersign-')), 'countersign');
  writeFileSync(path, bytes);
  chmodSync(path, 0o755);
  log(`Downloaded the verifier, SHA-256 ${found}.`);
  return path;
}

/** The report of `countersign verify`. Exit code and report must agree, so that no half answer is a yes. */
export function verify(program, evidence, trust, signal) {
  const words = ['verify', evidence, '--trust', trust, '--json'];
  const options = { signal, timeout: VERIFYING_MILLISECONDS, maxBuffer: 16 * 1024 * 1024, env: { PATH: process.env.PATH } };
  return new Promise((resolve, reject) => {
    execFile(program, words, options, (error, stdout, stderr) => {
      if (signal.aborted) return reject(signal.reason);
      if (error?.code === 'ENOENT' || error?.code === 'EACCES') {
        return reject(new Failure('No verifier', `There is no program ${program} that can be run: give its path as program, or program-url and program-sha256.`));
      }
      const verdict = error ? VERDICTS[error.code] : VERDICTS[0];
      const report = jsonOf(stdout);
      if (verdict === undefined || report?.verdict !== verdict) {
        const said = oneLine(stderr) || 'it said nothing';
        return reject(new Failure('No verdict', `${program} gave no verdict (${error?.code ?? error?.signal ?? 'exit code 0'}): ${said}`));
      }
      return resolve(report);
    });
  });
}

function jsonOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

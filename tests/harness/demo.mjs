// `countersign demo` on free ports, with a folder of its own and nothing in it.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** The folder that cargo builds into. */
export const target = process.env.CARGO_TARGET_DIR ?? path.join(root, 'target');
const binary = process.env.COUNTERSIGN_BINARY ?? path.join(target, 'debug/countersign');

const STARTING_MILLISECONDS = 20_000;

/** Starts the demo; answers with its addresses when it is ready, with `log()` and `stop()`. */
export async function startDemo(...options) {
  if (!existsSync(binary)) {
    throw new Error(`${binary} is missing: build it with cargo build, or run tests/run`);
  }
  const folder = await mkdtemp(path.join(tmpdir(), 'countersign-demo-'));
  const demo = spawn(
    binary,
    ['demo', '--json', '--no-sample', '--port', '0', '--sandbox-port', '0', '--data-dir', folder, ...options],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let log = '';
  demo.stderr.on('data', (text) => { log += text; });
  const line = await new Promise((resolve, reject) => {
    createInterface({ input: demo.stdout }).once('line', resolve);
    demo.once('error', reject);
    demo.once('exit', (code) => reject(new Error(`the demo ended with ${code}:\n${log}`)));
  });
  const stop = () => new Promise((resolve) => {
    if (demo.exitCode !== null || demo.signalCode !== null) return resolve();
    demo.once('exit', resolve);
    demo.kill('SIGTERM');
  });
  const addresses = JSON.parse(line);
  await untilReady(addresses, stop, () => log);
  return { ...addresses, log: () => log, stop };
}

async function untilReady({ gate }, stop, log) {
  const deadline = performance.now() + STARTING_MILLISECONDS;
  while (!(await fetch(`${gate}/health/ready`).catch(() => undefined))?.ok) {
    if (performance.now() > deadline) {
      await stop();
      throw new Error(`the gate did not become ready:\n${log()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/**
 * Stops a demo and starts its gate and its sandbox again, with another configuration: `edit` gets the text of the one before.
 * Rules that bind already stay until they are signed, unless the gate begins anew.
 */
export async function restartWith(demo, edit, { anew = false } = {}) {
  await demo.stop();
  if (anew) {
    const kept = (await readdir(demo.data_dir)).filter((name) => /^(gate\.db|log-head)/.test(name));
    await Promise.all(kept.map((name) => rm(path.join(demo.data_dir, name), { recursive: true })));
  }
  await writeFile(demo.config, edit(await readFile(demo.config, 'utf8')));
  let log = '';
  // What the environment says is meant for another gate.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(COUNTERSIGN_|PORT$)/.test(name)));
  const start = (...words) => {
    const child = spawn(binary, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { log += text; });
    return child;
  };
  const { port } = new URL(demo.sandbox);
  const children = [
    start('sandbox', '--port', port, '--data-dir', demo.data_dir, '--gate', demo.gate),
    start('serve', '--config', demo.config),
  ];
  const stop = () => Promise.all(children.map((child) => new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once('exit', resolve);
    child.kill('SIGTERM');
  })));
  await untilReady(demo, stop, () => log);
  return { ...demo, log: () => log, stop };
}

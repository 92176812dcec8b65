// What the action says about itself agrees in all places: action.yml, the
// README, its example, and the code.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ACTION } from './step.mjs';

const read = (name) => readFileSync(join(ACTION, name), 'utf8');
const metadata = read('action.yml');
const readme = read('README.md');

// The keys two spaces deep under one section of action.yml.
function keysOf(section) {
  const [, block] = new RegExp(`^${section}:\\n((?:  .*\\n)+)`, 'm').exec(metadata);
  return [...block.matchAll(/^ {2}([\w-]+):/gm)].map(([, key]) => key);
}

test('every input is read by the code and described in the README', () => {
  const code = read('inputs.mjs');
  const named = [...code.matchAll(/(?:optional|required)\('([\w-]+)'\)/g)].map(([, name]) => name);
  assert.deepEqual([...new Set(named)].sort(), keysOf('inputs').sort());
  for (const name of keysOf('inputs')) assert.ok(readme.includes(`\`${name}\``), name);
});

test('every output is set by the code and described in the README', () => {
  const code = read('report.mjs');
  for (const name of keysOf('outputs')) {
    assert.match(code, new RegExp(`(^|\\s)'?${name}'?[:,]`, 'm'), name);
    assert.ok(readme.includes(`| \`${name}\` |`), name);
  }
});

test('the example of the README is example.yml', () => {
  assert.ok(readme.includes(`\`\`\`yaml\n${read('example.yml')}\`\`\``));
});

test('the scripts that action.yml names are there and need no package', () => {
  const scripts = [...metadata.matchAll(/^ {2}(?:main|post): (\S+)$/gm)].map(([, name]) => name);
  assert.deepEqual(scripts, ['index.mjs', 'post.mjs']);
  for (const name of readdirSync(ACTION).filter((file) => file.endsWith('.mjs'))) {
    for (const [, from] of read(name).matchAll(/from '([^']+)'/g)) assert.match(from, /^(node:|\.\/)/, `${name} imports ${from}`);
  }
});

// What each action says about itself agrees in all places: action.yml, the README, the examples, the code.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ACTIONS } from './step.mjs';
import { keysOf, namesIn } from './metadata.mjs';

const read = (...names) => readFileSync(join(ACTIONS, ...names), 'utf8');

// Where the outputs are set, and which scripts there are.
for (const [action, outputs, scripts, example] of [
  ['request-approval', ['scripts', 'report.mjs'], ['index.mjs', 'post.mjs'], 'build-then-deploy.yml'],
  ['wait-for-approval', ['scripts', 'report.mjs'], ['index.mjs'], 'ask-then-wait.yml'],
  ['verify-evidence', ['verify-evidence', 'index.mjs'], ['index.mjs'], 'verify.yml'],
]) {
  const readme = read(action, 'README.md');

  test(`${action}: every input is read by the code and described in the README`, () => {
    const named = [...read(action, 'inputs.mjs').matchAll(/(?:optional|required)\('([\w-]+)'\)/g)].map(([, name]) => name);
    assert.deepEqual([...new Set(named)].sort(), keysOf(action, 'inputs').sort());
    for (const name of keysOf(action, 'inputs')) assert.ok(readme.includes(`\`${name}\``), name);
  });

  test(`${action}: every output is set by the code and described in the README`, () => {
    const code = read(...outputs);
    for (const name of keysOf(action, 'outputs')) {
      assert.match(code, new RegExp(`(^|\\s)'?${name}'?[:,]`, 'm'), name);
      assert.ok(readme.includes(`| \`${name}\` |`), name);
    }
  });

  test(`${action}: what the README shows stands in ${example}`, () => {
    const [, shown] = /```yaml\n([\s\S]*?)```/.exec(readme);
    assert.ok(read('examples', example).includes(shown), shown);
  });

  test(`${action}: the scripts that action.yml names are there and need no package`, () => {
    assert.deepEqual(namesIn(action, /^ {2}(?:main|post): (\S+)$/gm), scripts);
    for (const folder of [action, 'scripts']) {
      for (const name of readdirSync(join(ACTIONS, folder)).filter((file) => file.endsWith('.mjs'))) {
        for (const [, from] of read(folder, name).matchAll(/from '([^']+)'/g)) assert.match(from, /^(node:|\.\/|\.\.\/scripts\/)/, `${name} imports ${from}`);
      }
    }
  });
}

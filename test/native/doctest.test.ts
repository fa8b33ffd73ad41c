import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const DIRECTORY = fileURLToPath(new URL('../../build/native/tests', import.meta.url));
const SUBJECTS = ['operators', 'core', 'nccl'];
const TIMEOUT_MS = 600_000;

const NAMED = { '&lt;': '<', '&gt;': '>', '&quot;': '"', '&apos;': "'", '&amp;': '&' } as Record<string, string>;

function unescape(text: string): string {
  return text.replaceAll(/&(lt|gt|quot|apos|amp);/g, (entity) => NAMED[entity] ?? entity);
}

function testCases(executable: string): string[] {
  const listing = execFileSync(executable, ['--list-test-cases', '--reporters=xml'], { encoding: 'utf8' });
  return [...listing.matchAll(/<TestCase name="([^"]*)"/g)].map((match) => unescape(match[1]!));
}

/** Runs a test executable once; what failed in each test case, by its name. */
function failures(executable: string): Map<string, string> {
  const { stdout, stderr, signal, error } = spawnSync(executable, ['--reporters=xml'], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    maxBuffer: 1 << 28,
  });
  if (error) throw error;
  const results = new Map<string, string>();
  for (const [, name, body] of stdout.matchAll(/<TestCase name="([^"]*)"[^>]*>([\s\S]*?)<\/TestCase>/g)) {
    const passed = /<OverallResultsAsserts [^>]*test_case_success="true"/.test(body!);
    results.set(unescape(name!), passed ? '' : unescape(body!).trim());
  }
  if (signal) throw new Error(`${executable} was ended by ${signal}: ${stderr}`);
  return results;
}

// The native unit tests, one Mocha test a test case. `npm run build:native` builds them.
for (const subject of SUBJECTS) {
  const executable = join(DIRECTORY, `test_${subject}`);
  describe(`native ${subject}`, () => {
    let found: Map<string, string>;
    let names: string[] = [];
    try {
      accessSync(executable, constants.X_OK);
      names = testCases(executable);
    } catch (error) {
      it('is built', () => assert.fail(`${String(error)}; build it with: npm run build:native`));
      return;
    }
    before(function () {
      this.timeout(TIMEOUT_MS);
      found = failures(executable);
    });
    it('has test cases', () => assert.notEqual(names.length, 0));
    for (const name of names) {
      it(name, () => assert.equal(found.get(name), '', 'the test case failed or did not run'));
    }
  });
}

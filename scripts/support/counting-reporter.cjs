// Mocha's spec reporter, which also says which files took the time and which tests passed only when they were tried
// again, and leaves the totals in the file that STRIPED_TEST_TOTALS names.
const { writeFileSync } = require('node:fs');
const { relative } = require('node:path');
const { reporters, Runner } = require('mocha');

const { EVENT_RUN_END, EVENT_SUITE_BEGIN, EVENT_SUITE_END, EVENT_TEST_RETRY } = Runner.constants;
const SLOWEST = 12;

module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const seconds = new Map();
    const retried = [];
    let begun = 0;
    runner.on(EVENT_SUITE_BEGIN, (suite) => {
      if (suite.parent?.root) begun = Date.now();
    });
    runner.on(EVENT_SUITE_END, (suite) => {
      if (!suite.parent?.root) return;
      const file = relative(process.cwd(), suite.file);
      seconds.set(file, (seconds.get(file) ?? 0) + (Date.now() - begun) / 1000);
    });
    runner.on(EVENT_TEST_RETRY, (test, error) => retried.push(`${test.fullTitle()}: ${error.message}`));
    runner.once(EVENT_RUN_END, () => {
      const slowest = [...seconds].sort(([, a], [, b]) => b - a).slice(0, SLOWEST);
      for (const [file, taken] of slowest) console.log(`${taken.toFixed(0).padStart(6)} s  ${file}`);
      for (const what of retried) console.log(`  tried again: ${what}`);
      const { passes, failures, pending } = runner.stats;
      writeFileSync(
        process.env.STRIPED_TEST_TOTALS,
        JSON.stringify({ passed: passes, failed: failures, skipped: pending }),
      );
    });
  }
};

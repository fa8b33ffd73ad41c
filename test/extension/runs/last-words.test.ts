import assert from 'node:assert/strict';
import { withLastWords } from '../../../extension/runs/last-words.js';

describe('the last words of a log', () => {
  it('are its last line that says something', () => {
    assert.equal(withLastWords('ended', ''), 'ended');
    assert.equal(withLastWords('ended', '\n---\n'), 'ended');
    assert.equal(withLastWords('ended', 'one\ntwo\n'), 'ended; the last line of its log: two');
    const launcher = '-----\nNo network interfaces were found.\r\n-----\n\n';
    assert.equal(
      withLastWords('ended', launcher),
      'ended; the last line of its log: No network interfaces were found.',
    );
  });
});

import assert from 'node:assert/strict';
import { runnerFailure, withLastWords } from '../../../extension/runs/last-words.js';

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

  const failed = 'striped-runner: error: a run over several ranks needs MPI [no-mpi]\n';
  const launcher =
    '-----\nPrimary job  terminated normally, but 1 process returned\na non-zero exit code.\n-----\n';

  it("are the runner's own, not those of the launcher behind it", () => {
    assert.equal(
      withLastWords('ended', `note\n${failed}${launcher}`),
      'ended: a run over several ranks needs MPI',
    );
  });

  it('are not those of an earlier start, after which it trained', () => {
    const again = '2026-11-23T05:42:05.123Z training tiny on 2 × CPU\nmpirun noticed signal 9 (Killed).\n';
    assert.equal(
      withLastWords('ended', `${failed}${launcher}${again}`),
      'ended; the last line of its log: mpirun noticed signal 9 (Killed).',
    );
  });
});

describe('why the runner failed', () => {
  it('is its own line among those of a launcher', () => {
    const said = '-----\nstriped-runner: error: no [x] here [backend-unknown]\n-----\nmpirun detected …\n';
    assert.deepEqual(runnerFailure(said, 1), { message: 'no [x] here', code: 'backend-unknown' });
  });

  it('is how it ended, with the end of what was written, where it said nothing of its own', () => {
    assert.equal(
      runnerFailure('libx.so: not found\n', 127).message,
      'the engine ended with exit code 127: libx.so: not found',
    );
    const { message, code } = runnerFailure(`${'a'.repeat(1000)}end`, null);
    assert.match(message, /^the engine was ended by a signal: a{497}end$/);
    assert.equal(code, undefined);
  });
});

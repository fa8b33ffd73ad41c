import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../build/native/tests/test_nccl', import.meta.url));

describe('ranks on GPUs that join, through a stand-in for NCCL', () => {
  function joined(environment: Record<string, string>): string {
    const ended = spawnSync(PROGRAM, ['join'], { encoding: 'utf8', env: { ...process.env, ...environment } });
    assert.equal(ended.status, 0, ended.stderr);
    return ended.stdout;
  }

  it('find it where cuDNN is looked for', () => assert.equal(joined({}), 'joined\n'));
  it('say that it is too old', () =>
    assert.match(joined({ STANDIN_NCCL_VERSION: '21706' }), /is of version 2\.17, and 2\.18 or later.*\[no-nccl\]/));
  it('say where they looked for it', () =>
    assert.match(
      joined({ STRIPED_CUDNN_PATH: '/absent' }),
      /speak through NCCL: libnccl\.so\.2.*was not found[\s\S]*\/absent\/lib\/libnccl\.so\.2[\s\S]*\[no-nccl\]/,
    ));
});

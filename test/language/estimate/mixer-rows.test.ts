import assert from 'node:assert/strict';
import { engineById } from '../../../language/estimate/index.js';
import { hasMixer, mixerBytes } from '../../../language/estimate/mixer-rows.js';

const mixers = engineById('savanna')!.mixers!;

describe("another program's mixers", () => {
  it('take what was measured, at the lengths measured', () => {
    assert.ok(mixers.rows.length >= 36);
    for (const { operator, tokens, context, forwardMs, backwardMs } of mixers.rows) {
      const { forward, backward } = mixerBytes(mixers, operator, tokens, context);
      const milliseconds = (bytes: number) => (bytes * mixers.values) / (mixers.copyTerabytesPerSecond * 1e9);
      assert.ok(Math.abs(milliseconds(forward) / forwardMs - 1) < 1e-9, `${operator} ${tokens}`);
      assert.ok(Math.abs(milliseconds(backward) / backwardMs - 1) < 1e-9, `${operator} ${tokens}`);
    }
  });

  it('take what lies between at lengths between, and beyond them what they take at the ends', () => {
    const forward = (tokens: number, context = 1) => mixerBytes(mixers, 'MR', tokens, context).forward;
    const middle = (forward(32_768) + forward(65_536)) / 2;
    assert.ok(Math.abs(forward(32_768 * Math.SQRT2) / middle - 1) < 1e-9);
    assert.equal(forward(1024), forward(16_384));
    assert.equal(forward(4_194_304), forward(524_288));
    assert.equal(forward(65_536, 8), forward(65_536, 2));
    assert.ok(forward(65_536, 2) > forward(65_536));
  });

  it('are those of Hyena only', () => {
    assert.deepEqual(
      ['SE', 'MR', 'LI', 'MHA'].map((operator) => hasMixer(mixers, operator)),
      [true, true, true, false],
    );
  });
});

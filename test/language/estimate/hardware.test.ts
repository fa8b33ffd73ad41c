import assert from 'node:assert/strict';
import { hardwareById, hardwareProfiles, type Figure } from '../../../language/estimate/index.js';

/** Every figure of a profile with its path. */
function figures(value: unknown, path = ''): [string, Figure][] {
  if (typeof value !== 'object' || value === null) return [];
  if ('value' in value) return [[path, value as Figure]];
  return Object.entries(value).flatMap(([key, inner]) => figures(inner, `${path}.${key}`));
}

describe('hardware profiles', () => {
  it('are found by id', () => {
    assert.deepEqual(
      hardwareProfiles().map(({ id }) => hardwareById(id)?.id),
      ['h100-sxm', 'h100-pcie', 'h200-sxm', 'a100-80g', 'cpu'],
    );
    assert.equal(hardwareById('nothing'), undefined);
  });

  it('say where each figure comes from, and when and how for those measured or derived', () => {
    for (const profile of hardwareProfiles()) {
      for (const [path, { value, origin, note }] of figures(profile, profile.id)) {
        // A fitted kernel may have no use for one of its terms.
        assert.ok(path.includes('.kernels.') ? value >= 0 : value > 0, path);
        assert.ok(['measured', 'datasheet', 'derived'].includes(origin), `${path}: ${origin}`);
        if (origin === 'measured') assert.match(note ?? '', /\d{4}-\d{2}/, path);
        if (origin === 'derived') assert.ok(note, path);
      }
    }
  });

  it('sustain no more than their peak', () => {
    for (const { id, memoryBandwidth, peakFlops, denseFlops, attentionFlops } of hardwareProfiles()) {
      assert.ok(memoryBandwidth.copy.value <= memoryBandwidth.peak.value, id);
      for (const precision of ['fp32', 'bf16', 'fp8'] as const) {
        const [peak, dense] = [peakFlops[precision], denseFlops[precision]];
        assert.equal(peak === null, dense === null, `${id} ${precision}`);
        if (peak && dense) assert.ok(dense.value <= peak.value, `${id} ${precision}`);
      }
      const peak = (peakFlops.bf16 ?? peakFlops.fp32)!.value;
      assert.ok(attentionFlops.forward.value <= peak && attentionFlops.backward.value <= peak, id);
    }
  });
});

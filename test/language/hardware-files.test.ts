import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hardwareById, hardwareProfiles, type HardwareProfile } from '../../language/estimate/index.js';
import { readHardwareProfiles, writeHardwareProfile } from '../../language/server/hardware-files.js';

type Changeable = Record<string, Record<string, unknown>>;

describe('hardware profiles in files', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'striped-hardware-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it('are read as they were written', async () => {
    for (const profile of hardwareProfiles()) await writeHardwareProfile(profile, folder);
    const { profiles, problems } = await readHardwareProfiles(folder);
    assert.deepEqual(problems, []);
    const byId = (all: readonly HardwareProfile[]) => [...all].sort((a, b) => (a.id < b.id ? -1 : 1));
    assert.deepEqual(byId(profiles), byId(hardwareProfiles()));
  });

  const BROKEN: Record<string, [change: (profile: Changeable) => void, says: RegExp]> = {
    'a rate of nothing': [
      ({ memoryBandwidth }) => (memoryBandwidth!.copy = { value: 0, origin: 'measured' }),
      /"memoryBandwidth\.copy" must have a "value" above 0/,
    ],
    'a figure that is no number': [
      ({ denseFlops }) => (denseFlops!.bf16 = { value: null, origin: 'measured' }),
      /"denseFlops\.bf16" must have a "value" of 0 or more/,
    ],
    'a peak that is missing': [
      (profile) => (profile.peakFlops = {}),
      /"peakFlops" must say what fp32 reaches/,
    ],
    'a kernel as another version wrote it': [
      ({ kernels }) => delete (kernels!.SE as { forward: Record<string, unknown> }).forward.measuredBytes,
      /"kernels\.SE" lacks figures/,
    ],
    'a link without a rate': [
      (profile) => (profile.links = [{ kind: 'nvlink4', scope: 'node' }] as never),
      /"links" lacks figures/,
    ],
    'a judged step without an error': [
      (profile) =>
        (profile.judged = [
          { width: 64, sequence: 64, microBatch: 1, precision: 'bf16', error: null },
        ] as never),
      /"judged" lacks figures/,
    ],
  };
  for (const [what, [change, says]] of Object.entries(BROKEN)) {
    it(`are left out, and it is said why: ${what}`, async () => {
      const profile = structuredClone(hardwareById('h200-sxm')!);
      change(profile as unknown as Changeable);
      writeFileSync(join(folder, 'h200-sxm.json'), JSON.stringify(profile));
      const { profiles, problems } = await readHardwareProfiles(folder);
      assert.deepEqual(profiles, []);
      assert.equal(problems.length, 1);
      assert.match(problems[0]!, says);
    });
  }
});

import type { Plan } from '../plan/plan.js';
import { rankParameters } from './memory.js';
import type { Device, Work } from './roofline.js';

/**
 * AdamW over this rank's share: reads gradient (twice, the norm comes first), master and moments, writes
 * master, moments, the compute copy in mixed precision, and zeroed gradients.
 */
export function optimizerWork(on: Device, plan: Plan): Work {
  const { zero, data, tensor } = plan.run.parallel;
  const count = rankParameters(plan, tensor) / (zero >= 1 ? data : 1);
  const bytes = count * (4 * 9 + (on.precision === 'fp32' ? 0 : 2));
  return {
    name: 'optimizer',
    kind: 'optimizer',
    rate: 'elementwise',
    forward: { flops: 0, bytes: 0 },
    backward: { flops: 15 * count, bytes },
    launches: [0, 3],
  };
}

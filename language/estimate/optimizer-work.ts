import type { Plan } from '../plan/plan.js';
import { rankParameters, replicasOf } from './memory.js';
import type { Device, Work } from './roofline.js';

const NOTHING = { flops: 0, bytes: 0 };

/**
 * Once a step, over this rank's share: AdamW reads the gradient (twice, the norm comes first), master and
 * moments, and writes master, moments and in mixed precision the compute copy. Gradients start from zero, as in the
 * measured steps; since then only where micro-batches are accumulated.
 */
export function optimizerWorks(on: Device, plan: Plan): Work[] {
  const { zero, tensor } = plan.run.parallel;
  const count = rankParameters(plan, tensor) / (zero >= 1 ? replicasOf(plan.run.parallel) : 1);
  const bytes = count * (4 * 8 + (on.precision === 'fp32' ? 0 : 2));
  return [
    {
      name: 'optimizer',
      kind: 'optimizer',
      rate: 'elementwise',
      forward: NOTHING,
      backward: { flops: 15 * count, bytes },
      launches: [0, 2],
    },
    {
      name: 'gradients',
      kind: 'optimizer',
      kernel: { backward: 'zero' },
      rate: 'elementwise',
      forward: NOTHING,
      backward: { flops: 0, bytes: 4 * count },
      launches: [0, 1],
    },
  ];
}

import type { Plan } from '../plan/plan.js';
import { parametersByUnit, replicasOf } from './memory.js';
import type { Device, Work } from './roofline.js';

const NOTHING = { flops: 0, bytes: 0 };

/**
 * How many gradients a step of this project's engine starts from zero: those that several micro-batches are added to, and
 * those outside of blocks; of a single micro-batch, matrix products write those of blocks. Where they are shared out (ZeRO 2
 * and 3) a rank's share, and with every micro-batch the whole ones that are summed over ranks.
 */
function addedGradients({ run }: Plan, { all, outer }: { all: number; outer: number }): number {
  const replicas = replicasOf(run.parallel);
  if (replicas > 1 && run.parallel.zero >= 2) return all / replicas + run.accumulation * all;
  return run.accumulation > 1 ? all : outer;
}

/**
 * Once a step, over this rank's share: AdamW reads the gradient (twice, the norm comes first), master and
 * moments, and writes master, moments and in mixed precision the compute copy.
 */
export function optimizerWorks(on: Device, plan: Plan): Work[] {
  const { zero, tensor } = plan.run.parallel;
  const parameters = parametersByUnit(plan, tensor);
  const count = parameters.all / (zero >= 1 ? replicasOf(plan.run.parallel) : 1);
  const bytes = count * (4 * 8 + (on.precision === 'fp32' ? 0 : 2));
  const zeroed = on.engine.zeroesGradients ? count : addedGradients(plan, parameters);
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
      backward: { flops: 0, bytes: 4 * zeroed },
      launches: [0, 1],
    },
  ];
}

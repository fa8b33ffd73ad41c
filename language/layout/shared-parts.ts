import type { PlanFfn, PlanMixer } from '../plan/plan.js';
import { blockTensors, totalSize } from '../plan/tensors.js';
import type { ResolvedBlock } from './layout.js';

/** What blocks of equal mixer and feed-forward have in common. */
type Parts = Pick<ResolvedBlock, 'mixer' | 'ffn' | 'tensors' | 'parameters'>;

/**
 * One object for equal parts of a model's blocks: layouts have many blocks and few kinds of them, and what is
 * computed of a kind later (its cost, its memory) is then computed once.
 */
export class SharedParts {
  private readonly known = new Map<string, Parts>();
  private readonly ffns = new Map<string, PlanFfn>();
  private readonly mixers = new Map<string, PlanMixer>();

  of(mixer: PlanMixer, ffn: PlanFfn, width: number): Parts {
    const [mixerKey, ffnKey] = [JSON.stringify(mixer), JSON.stringify(ffn)];
    const key = mixerKey + ffnKey;
    let parts = this.known.get(key);
    if (!parts) {
      const block = { mixer: first(this.mixers, mixerKey, mixer), ffn: first(this.ffns, ffnKey, ffn) };
      const tensors = blockTensors(block, width);
      this.known.set(key, (parts = { ...block, tensors, parameters: totalSize(tensors) }));
    }
    return parts;
  }
}

function first<T>(known: Map<string, T>, key: string, value: T): T {
  if (!known.has(key)) known.set(key, value);
  return known.get(key)!;
}

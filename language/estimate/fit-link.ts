import { movedBytes, type Collective } from './links.js';
import type { LinkProfile } from './hardware.js';
import { fitDeviations } from './least-deviations.js';

/** What calls between ranks of one machine took. */
export interface MeasuredTraffic {
  ranks: number;
  rows: { collective: Collective; bytes: number; seconds: number }[];
}

/** The link that explains them best: a rate, a latency of each hand-over, and what a call takes besides. */
export function linkOf(kind: string, { ranks, rows }: MeasuredTraffic, note: string): LinkProfile {
  const [perByte, perStep, perCall] = fitDeviations(
    rows.map(({ collective, bytes, seconds }) => {
      const { moved, steps } = movedBytes(collective, ranks, bytes);
      return { features: [moved, steps, 1], value: seconds };
    }),
  );
  const measured = (value: number) => ({ value, origin: 'measured' as const, note });
  return {
    kind,
    scope: 'node',
    bytesPerSecond: measured(Number((1 / perByte!).toPrecision(4))),
    latencySeconds: measured(Number(Math.max(perStep!, 1e-9).toPrecision(3))),
    ...(perCall! > 0 ? { callSeconds: measured(Number(perCall!.toPrecision(3))) } : {}),
  };
}

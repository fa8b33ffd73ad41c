import { movedBytes, type Collective } from './communication.js';
import type { LinkProfile } from './hardware.js';
import { fitDeviations } from './least-deviations.js';

/** What calls between ranks of one machine took. */
export interface MeasuredTraffic {
  ranks: number;
  rows: { collective: Collective; bytes: number; seconds: number }[];
}

/** The link that explains them best: a rate, and a latency of each hand-over. */
export function linkOf(kind: string, { ranks, rows }: MeasuredTraffic, note: string): LinkProfile {
  const [perByte, perStep] = fitDeviations(
    rows.map(({ collective, bytes, seconds }) => {
      const { moved, steps } = movedBytes(collective, ranks, bytes);
      return { features: [moved, steps], value: seconds };
    }),
  );
  const measured = (value: number) => ({ value, origin: 'measured' as const, note });
  return {
    kind,
    scope: 'node',
    bytesPerSecond: measured(Number((1 / perByte!).toPrecision(4))),
    latencySeconds: measured(Number(Math.max(perStep!, 1e-9).toPrecision(3))),
  };
}

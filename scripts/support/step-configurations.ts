/**
 * The configurations whose training steps are measured, and how each becomes a plan. What was measured of them
 * lies in `test/measured`; the estimates are fitted on a part of it and judged on the rest.
 */
import { EmptyFileSystem, URI } from 'langium';
import { compileRun, createStripedServices, type StripedHost } from '../../language/index.js';
import type { Plan } from '../../language/plan/plan.js';

export interface StepConfiguration {
  width: number;
  sequence: number;
  /** As a layout file says it; operators may carry settings. */
  layout: string;
  microBatch?: number;
  accumulation?: number;
  precision?: 'fp32' | 'bf16' | 'fp8';
  recompute?: boolean;
  /** Channels of the MLP; without it 2.6875 times the width, as in the paper. */
  inner?: number;
  /** Width of a head, 128 without it. */
  head?: number;
  vocab?: number;
}

const K = 1024;
const TRIO = 'SE MR LI';
const MIX = 'SE MR LI MHA';
const SHORT_FFN = 'SE(ffn: SE(filter: 7)) SE(ffn: SE(filter: 7))';

type Options = Omit<StepConfiguration, 'width' | 'sequence' | 'layout'>;
const of = (layout: string, width: number, kilo: number, options: Options = {}): StepConfiguration => ({
  width,
  sequence: kilo * K,
  layout,
  ...options,
});

const FP8: Options = { precision: 'fp8' };
const AGAIN: Options = { recompute: true };
const batch = (microBatch: number): Options => ({ microBatch });

/** One operator at a time, at two widths. */
const ALONE = ['SE', 'MR', 'LI', 'MHA'].flatMap((operator) => [
  of(`${operator} x 4`, 1024, 8),
  of(`${operator} x 4`, 1024, 32),
  of(`${operator} x 2`, 4096, 8),
  of(`${operator} x 2`, 4096, 32),
]);

const TRIOS = [
  of(`(${TRIO}) x 2`, 512, 1, batch(8)),
  of(`(${TRIO}) x 2`, 512, 16),
  of(TRIO, 512, 128),
  of(TRIO, 512, 512),
  of(`(${TRIO}) x 2`, 1024, 4, batch(4)),
  of(TRIO, 1024, 128),
  of(TRIO, 1024, 512),
  of(TRIO, 2048, 2, batch(8)),
  of(TRIO, 2048, 16),
  of(TRIO, 2048, 64),
  of('MR LI', 2048, 256),
  of(TRIO, 4096, 8),
  of(TRIO, 4096, 32),
  of('SE LI', 4096, 128),
  of(TRIO, 8192, 8),
  of('MR LI', 8192, 32),
];

const MIXES = [
  of(MIX, 512, 16),
  of(MIX, 512, 128),
  of(MIX, 1024, 8, batch(4)),
  of(MIX, 1024, 64),
  of('LI LI LI MHA', 1024, 32),
  of(MIX, 2048, 4, batch(4)),
  of(MIX, 2048, 16),
  of(MIX, 2048, 64),
  of('LI LI LI MHA', 2048, 16),
  of(MIX, 4096, 2, batch(4)),
  of(MIX, 4096, 8),
  of(MIX, 4096, 32),
  of('LI LI LI MHA', 4096, 32),
  of('SE LI MHA', 8192, 2, batch(4)),
  of('MR LI MHA', 8192, 8),
];

const TRANSFORMERS = [
  of('MHA x 4', 512, 8, batch(4)),
  of('MHA x 2', 2048, 2, batch(8)),
  of('MHA x 2', 2048, 16),
  of('MHA x 2', 8192, 8),
];

const IN_FP8 = [
  of('SE x 2', 4096, 32, FP8),
  of('LI x 2', 2048, 64, FP8),
  of(TRIO, 1024, 32, FP8),
  of(TRIO, 2048, 16, FP8),
  of(TRIO, 2048, 64, FP8),
  of(TRIO, 4096, 8, FP8),
  of(TRIO, 4096, 32, FP8),
  of('SE LI', 4096, 128, FP8),
  of(TRIO, 8192, 8, FP8),
  of('MR LI', 8192, 32, FP8),
  of(MIX, 2048, 16, FP8),
  of(MIX, 4096, 8, FP8),
  of(MIX, 4096, 32, FP8),
  of('SE LI MHA', 8192, 8, FP8),
  of('MHA x 2', 4096, 32, FP8),
];

const RECOMPUTED = [
  of(TRIO, 2048, 64, AGAIN),
  of(TRIO, 4096, 32, AGAIN),
  of(TRIO, 4096, 32, { ...AGAIN, ...FP8 }),
  of(TRIO, 8192, 8, AGAIN),
  of(MIX, 4096, 8, { ...AGAIN, ...FP8 }),
  of(MIX, 1024, 64, AGAIN),
  of('MHA x 2', 2048, 16, AGAIN),
  of('SE MR', 1024, 512, AGAIN),
];

const BATCHES = [
  of(MIX, 2048, 4),
  of(MIX, 2048, 4, batch(2)),
  of(MIX, 2048, 4, batch(8)),
  of(TRIO, 4096, 4, batch(8)),
  of(TRIO, 4096, 4, { microBatch: 8, ...FP8 }),
  of(MIX, 2048, 4, { accumulation: 4 }),
  of(TRIO, 4096, 8, { accumulation: 2 }),
];

const VARIANTS = [
  of(SHORT_FFN, 2048, 32),
  of(SHORT_FFN, 4096, 8),
  of('SE(filter: 4) SE(filter: 14)', 2048, 16),
  of('MR(filter: 64) MR(filter: 32)', 2048, 16),
  of('LI(order: 8) LI(order: 8)', 2048, 16),
  of('MHA(kv-heads: 4) MHA(kv-heads: 4)', 2048, 16),
  of('SE MHA(window: 4K)', 2048, 64),
  of('SE(groups: 32) MR(groups: 32)', 2048, 16),
];

export const STEP_CONFIGURATIONS: readonly StepConfiguration[] = [
  ...ALONE,
  ...TRIOS,
  ...MIXES,
  ...TRANSFORMERS,
  ...IN_FP8,
  ...RECOMPUTED,
  ...BATCHES,
  ...VARIANTS,
];

const size = (tokens: number) => (tokens % K === 0 ? `${tokens / K}K` : String(tokens));

/** A name that tells configurations apart: "SE.MR.LI 4096 32K x1 bf16". */
export function nameOf(configuration: StepConfiguration): string {
  const { layout, width, sequence, microBatch = 1, accumulation = 1, precision = 'bf16' } = configuration;
  const batches = accumulation > 1 ? `${microBatch}x${accumulation}` : String(microBatch);
  const again = configuration.recompute ? ' recompute' : '';
  return `${layout.replaceAll(' ', '.')} ${width} ${size(sequence)} x${batches} ${precision}${again}`;
}

/** The configuration as a layout file with one run. */
export function layoutOf(configuration: StepConfiguration): string {
  const { width, sequence, layout, microBatch = 1, accumulation = 1, head = 128 } = configuration;
  const inner = configuration.inner ?? Math.round((width * 2.6875) / 128) * 128;
  return `model M {
  width ${width}   heads ${width / head}   vocab ${configuration.vocab ?? 512}   sequence ${sequence}
  tied embeddings
  ffn swiglu(inner: ${inner})
  SE  { filter 7     groups ${width / 16} }
  MR  { filter 128   groups ${width / 16}   decay strong }
  LI  { order 16     groups ${width} }
  MHA { rope(base: 1e6) }
  layout ${layout}
}
run step {
  model M   hardware h200-sxm
  sequence ${sequence}   batch ${microBatch * accumulation} sequences   micro-batch ${microBatch}
  precision ${configuration.precision ?? 'bf16'}
  ${configuration.recompute ? 'parallel { recompute blocks }' : ''}
  data bytes("none")
  optimizer adamw(lr: 1e-5)
  steps 10
}
`;
}

let files = 0;

/** Throws Error with what the language has against it. */
export async function planOf(
  configuration: StepConfiguration,
  host: StripedHost = createStripedServices(EmptyFileSystem),
): Promise<Plan> {
  const { LangiumDocumentFactory, LangiumDocuments, DocumentBuilder } = host.shared.workspace;
  const uri = URI.parse(`memory:///step-${++files}.striped`);
  const document = LangiumDocumentFactory.fromString(layoutOf(configuration), uri);
  LangiumDocuments.addDocument(document);
  await DocumentBuilder.build([document]);
  const { plan, errors } = compileRun(host, document, 'step');
  if (!plan) {
    throw new Error(`${nameOf(configuration)}: ${errors.map(({ message }) => message).join(' ')}`);
  }
  return { ...plan, name: nameOf(configuration) };
}

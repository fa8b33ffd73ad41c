/**
 * What is measured of a training step: a few blocks of a width at a length, in a precision. Each becomes a layout
 * file and through the language a plan, as any other.
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

import type { Context } from '../layout/vocabulary.js';

/** Words of the language that are neither settings nor operators: what they mean and how they are begun. */
export const STATEMENT_DOCS: Record<string, { doc: string; snippet?: string }> = {
  import: { doc: 'Makes the definitions of another file known here.', snippet: 'import "$1.striped"' },
  model: {
    doc: 'A model: widths, operator settings and a layout of blocks. In a run: the model to train.',
    snippet:
      'model ${1:Name} {\n  width ${2:1024}   heads ${3:16}   vocab ${4:256}\n\n  stripe trio = SE MR LI\n  layout (trio MHA) x ${5:4}\n}',
  },
  extends: { doc: 'Takes over everything of another model that is not said again.' },
  stripe: {
    doc: 'A named sequence of blocks, to be used in layouts and other stripes.',
    snippet: 'stripe ${1:trio} = ${2:SE MR LI}',
  },
  layout: { doc: 'The blocks from the first to the last. `(…) x 4` repeats.', snippet: 'layout $0' },
  tied: { doc: 'The unembedding is the embedding, transposed.', snippet: 'tied embeddings' },
  untied: { doc: 'The unembedding has weights of its own.', snippet: 'untied embeddings' },
  embeddings: { doc: '`tied embeddings` or `untied embeddings`.' },
  cluster: {
    doc: 'Nodes, links and scheduler that runs can be sent to.',
    snippet: 'cluster ${1:lab} {\n  node gpu ${2:h100-sxm} x ${3:8}   nodes ${4:1}\n}',
  },
  node: { doc: 'The devices of each node: `node gpu h100-sxm x 8`.', snippet: 'node gpu ' },
  run: {
    doc: 'A training run: model, data, batch, optimiser, place.',
    snippet:
      'run ${1:demo} {\n  model ${2:Model}\n  sequence ${3:8K}   micro-batch 1\n  data bytes("${4:genomes/*.fa.gz}")\n  steps ${5:1000}\n}',
  },
  on: { doc: 'The cluster that the run is sent to.', snippet: 'on ' },
  every: { doc: 'Reads well: `checkpoint every 200`.' },
  x: { doc: 'Repeats what stands before it: `(SE MR LI) x 4`.' },
  gpu: { doc: 'The node has GPUs.' },
  parallel: { doc: 'Parallel degrees of the run.' },
  tokens: { doc: 'The number counts tokens.' },
  sequences: { doc: 'The number counts sequences.' },
};

export function statementsIn(place: Context | 'file'): string[] {
  if (place === 'file') return ['import', 'model', 'stripe', 'cluster', 'run'];
  if (place === 'model') return ['stripe', 'layout', 'tied', 'untied'];
  if (place === 'cluster') return ['node'];
  return place === 'run' ? ['model', 'on'] : [];
}

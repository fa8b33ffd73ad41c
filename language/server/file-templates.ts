/** Whole files to begin with, offered where nothing is written yet. */
export interface FileTemplate {
  label: string;
  doc: string;
  snippet: string;
}

const MODEL = `model \${1:MyModel} {
  width \${2:1024}   heads \${3:8}   vocab 256

  SE { filter 7 }
  MR { filter 128   decay strong }
  LI { order 16 }

  stripe trio = SE MR LI
  layout (trio MHA) x \${4:4}
}
`;

function run(more: string): string {
  return `
run \${5:pretrain} {
  model \${1:MyModel}${more}
  sequence \${6:8K}   micro-batch 1
  data bytes("\${7:genomes/*.fa.gz}")
  steps \${8:1000}   checkpoint every 200
}
$0`;
}

const CLUSTER = `
cluster \${9:lab} {
  node gpu \${10:h100-sxm} x 8   nodes \${11:4}
  link nvlink4, infiniband(400)
}
`;

export const FILE_TEMPLATES: FileTemplate[] = [
  {
    label: 'new model and run',
    doc: 'A multi-hybrid, SE-MR-LI with attention, and a run on this machine.',
    snippet: MODEL + run(''),
  },
  {
    label: 'new model, cluster and run',
    doc: 'A multi-hybrid, the cluster to train it on, and the run.',
    snippet:
      MODEL + CLUSTER + run('   on ${9:lab}\n  parallel { zero 1   recompute blocks }\n  batch 4M tokens'),
  },
  {
    label: 'new ablation',
    doc: 'Two layouts of one size, to compare: SE-MR-LI and a Transformer.',
    snippet: `model \${1:Hybrid} {
  width \${2:1024}   heads \${3:8}   vocab 256
  layout (SE MR LI MHA) x \${4:6}
}

model \${5:Transformer} {
  width \${2:1024}   heads \${3:8}   vocab 256
  layout (MHA MHA MHA MHA) x \${4:6}
}
$0`,
  },
];

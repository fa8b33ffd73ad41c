import { CUDA_LIBRARIES, type Facts } from './facts.js';
import type { Finding } from './target.js';
import { QUIET_SHELL } from './transfer.js';

/** Less than this free, and checkpoints will soon fill the disk. */
const LITTLE_SPACE = 2 << 30;
const CLOCK_SKEW_S = 5;
const MOST_NOISE = 80;

/** What a machine's facts mean for runs there. */
export function judge(facts: Facts, wantsSlurm: boolean): Finding[] {
  const findings = [
    system(facts),
    disk(facts),
    clock(facts),
    ...gpu(facts),
    build(facts),
    mpi(facts),
    rsync(facts),
    ...loginShell(facts),
  ];
  return wantsSlurm ? [...findings, slurm(facts)] : findings;
}

function system(facts: Facts): Finding {
  const found = `${facts.os} ${facts.arch}, ${facts.libc || 'no GNU libc'}, ${facts.processors} processors, ${facts.host}`;
  if (facts.os === 'Linux') return { about: 'system', verdict: 'good', found };
  return { about: 'system', verdict: 'bad', found, mend: 'runs need Linux there' };
}

function disk(facts: Facts): Finding {
  const about = 'disk';
  if (!facts.isWritable) {
    return {
      about,
      verdict: 'bad',
      found: 'the folder for runs cannot be made or written',
      mend: 'set "directory" of this target to a folder that you can write, or free some space',
    };
  }
  const found = `${facts.free === null ? 'unknown' : gigabytes(facts.free)} free in ${facts.directory}`;
  if (facts.free !== null && facts.free < LITTLE_SPACE) {
    return { about, verdict: 'warning', found, mend: 'free some space: checkpoints need room' };
  }
  return { about, verdict: 'good', found };
}

function clock(facts: Facts): Finding {
  const ahead = Math.round(facts.time - Date.now() / 1e3);
  if (Math.abs(ahead) <= CLOCK_SKEW_S)
    return { about: 'clock', verdict: 'good', found: 'agrees with this machine' };
  return {
    about: 'clock',
    verdict: 'warning',
    found: `${Math.abs(ahead)} s ${ahead > 0 ? 'ahead of' : 'behind'} this machine`,
    mend: 'times of its runs are by its own clock; turn on time synchronisation',
  };
}

function gpu(facts: Facts): Finding[] {
  const { hiddenGpus, visibleDevices } = facts;
  if (facts.gpus.length === 0 && hiddenGpus.length > 0) {
    const found = `none: CUDA_VISIBLE_DEVICES is ${JSON.stringify(visibleDevices)} and hides ${hiddenGpus.join('; ')}`;
    const mend = 'runs use the CPU there; set it otherwise in "setup" of this target, or unset it there';
    return [{ about: 'GPU', verdict: 'warning', found, mend }];
  }
  if (facts.gpus.length === 0) {
    const mend = 'runs use the CPU there; on a cluster, compute nodes may have GPUs that this node has not';
    return [{ about: 'GPU', verdict: 'warning', found: 'none (nvidia-smi names none)', mend }];
  }
  const others = hiddenGpus.length > 0 ? ` (CUDA_VISIBLE_DEVICES hides ${hiddenGpus.length} more)` : '';
  const found: Finding = { about: 'GPU', verdict: 'good', found: facts.gpus.join('; ') + others };
  const missing = CUDA_LIBRARIES.filter((library) => !facts.cudaLibraries.includes(library));
  if (missing.length === 0) {
    return [found, { about: 'CUDA', verdict: 'good', found: facts.cudaLibraries.join(', ') }];
  }
  const isNeeded = missing.includes('libcuda') || missing.includes('libcublasLt');
  const mend =
    'install them, or say in "setup" of this target where they are: `module load cuda`, or `export STRIPED_CUDNN_PATH=` ' +
    'with their folders, separated by ":" (cuDNN and NCCL of Python packages: docs/gpu.md)';
  return [
    found,
    { about: 'CUDA', verdict: isNeeded ? 'bad' : 'warning', found: `no ${missing.join(', no ')}`, mend },
  ];
}

function build(facts: Facts): Finding {
  const missing = missingBuildTools(facts);
  const version = (name: string) => `${name} ${facts.programs.get(name)}`;
  if (missing.length > 0) {
    return {
      about: 'compiler',
      verdict: 'warning',
      found: `no ${missing.join(', no ')}`,
      mend: 'needed only where the prebuilt engine does not run; install them, or load their modules in "setup"',
    };
  }
  const nvcc = facts.programs.has('nvcc') ? `, ${version('nvcc')}` : '';
  return { about: 'compiler', verdict: 'good', found: `${version('cmake')}, ${version('c++')}${nvcc}` };
}

/** What a build of the engine lacks. */
export function missingBuildTools(facts: Facts): string[] {
  const missing = ['cmake', 'c++'].filter((name) => !facts.programs.has(name));
  return facts.programs.has('ninja') || facts.programs.has('make') ? missing : [...missing, 'ninja or make'];
}

function mpi(facts: Facts): Finding {
  const version = facts.programs.get('mpirun');
  if (version !== undefined) return { about: 'MPI', verdict: 'good', found: `mpirun ${version}`.trim() };
  const mend = 'needed only for runs on several GPUs; install OpenMPI, or load its module in "setup"';
  return { about: 'MPI', verdict: 'warning', found: 'no mpirun', mend };
}

function rsync(facts: Facts): Finding {
  const version = facts.programs.get('rsync');
  if (version !== undefined) return { about: 'rsync', verdict: 'good', found: version };
  const mend = 'install rsync: the engine, data and checkpoints travel by it';
  return { about: 'rsync', verdict: 'bad', found: 'missing', mend };
}

function loginShell({ noise }: Facts): Finding[] {
  if (noise === '') return [];
  const found = `prints ${JSON.stringify(noise.trim().slice(0, MOST_NOISE))} before what ssh runs`;
  return [{ about: 'login shell', verdict: 'bad', found, mend: QUIET_SHELL }];
}

function slurm(facts: Facts): Finding {
  const missing = ['sbatch', 'squeue', 'scancel', 'scontrol'].filter((name) => !facts.programs.has(name));
  if (missing.length === 0)
    return { about: 'Slurm', verdict: 'good', found: facts.programs.get('sbatch') ?? '' };
  return {
    about: 'Slurm',
    verdict: 'bad',
    found: `no ${missing.join(', no ')}`,
    mend: 'set "host" of this target to a log-in node of the cluster, or put the path of Slurm\'s commands into "setup"',
  };
}

function gigabytes(bytes: number): string {
  return `${(bytes / (1 << 30)).toFixed(1)} GB`;
}

/** Traffic between devices, measured by the runner on several ranks. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { linkOf, type LinkProfile, type MeasuredTraffic } from '../../language/estimate/index.js';
import { runnerFailure } from '../runs/index.js';
import { BenchError } from './measure.js';

interface LinkReport {
  backend: string;
  device: string;
  ranks: number;
  oneMachine: boolean;
  rows: MeasuredTraffic['rows'];
}

const TIMEOUT_MS = 60_000;

/** GPUs that the driver lists; 0 where there is no driver. */
export async function gpuCount(): Promise<number> {
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', ['-L']);
    return stdout.split('\n').filter((line) => line.startsWith('GPU ')).length;
  } catch {
    return 0;
  }
}

/** What mpirun is told for ranks of one machine: they may be more than its cores, and open no ports. */
const MPIRUN = ['--oversubscribe', '--bind-to', 'none'];
const ENVIRONMENT = { OMPI_MCA_btl: 'self,vader', OMPI_MCA_pml: 'ob1' };

function reasonOf(error: unknown): string {
  const { code, stderr } = error as { code?: unknown; stderr?: string };
  if (code === 'ENOENT')
    return 'mpirun, which starts ranks, is not here; install OpenMPI, or load its module';
  if (!stderr) return String(error);
  return runnerFailure(stderr, typeof code === 'number' ? code : null).message;
}

/** The link between devices of this machine. Throws BenchError with what stands in its way. */
export async function measureLink(
  runner: string,
  backend: string,
  ranks: number,
): Promise<{ link: LinkProfile; note: string }> {
  // OpenMPI refuses root unless told twice.
  const asRoot = process.getuid?.() === 0 ? ['--allow-run-as-root'] : [];
  const words = [...MPIRUN, ...asRoot, '-n', String(ranks), runner, 'bench', 'links', '--json'];
  try {
    const { stdout } = await promisify(execFile)('mpirun', [...words, '--backend', backend], {
      timeout: TIMEOUT_MS,
      env: { ...process.env, ...ENVIRONMENT },
    });
    const report = JSON.parse(stdout) as LinkReport;
    const note = `${report.ranks} ranks of ${report.device}, ${new Date().toISOString().slice(0, 10)}`;
    return { link: linkOf(report.backend === 'cpu' ? 'mpi' : 'nccl', report, note), note };
  } catch (error) {
    throw new BenchError(reasonOf(error), 'calibrate/links');
  }
}

import { RunError } from '../errors.js';
import { quote } from './quote.js';
import type { Shell } from './shell.js';

/** What a machine says of itself. */
export interface Facts {
  home: string;
  host: string;
  /** As `uname` names them, e.g. `Linux` and `x86_64`. */
  os: string;
  arch: string;
  libc: string;
  processors: number;
  /** Instruction sets of the processor, as Linux names them. */
  instructions: Set<string>;
  /** Bytes free where runs go; null when it could not be found out. */
  free: number | null;
  directory: string;
  isWritable: boolean;
  /** Versions of programs that are there, by name. */
  programs: Map<string, string>;
  /** `name, memory, driver` of each GPU that nvidia-smi names and CUDA_VISIBLE_DEVICES lets programs see. */
  gpus: string[];
  /** The others, which are hidden. */
  hiddenGpus: string[];
  /** What CUDA_VISIBLE_DEVICES is over there; null: it is not set. */
  visibleDevices: string | null;
  /** Those of CUDA_LIBRARIES that are where the engine looks for them. */
  cudaLibraries: string[];
  /** Seconds since the Unix epoch, by its own clock. */
  time: number;
  /** What its login shell prints before anything that ssh runs. */
  noise: string;
}

const PROGRAMS = ['cmake', 'c++', 'ninja', 'make', 'rsync', 'nvcc', 'mpirun', 'setsid'];
const SLURM_PROGRAMS = ['sbatch', 'squeue', 'scancel', 'scontrol'];
export const CUDA_LIBRARIES = ['libcuda', 'libcublasLt', 'libcudnn', 'libnccl'];

/** A path of ours as a word of a script; `~/` is the home over there. */
export function pathWord(path: string): string {
  return path.startsWith('~/') ? `"$HOME"/${quote(path.slice(2))}` : quote(path);
}

/** What is free on the disk of a directory, in KiB, as a word of a script; so is the directory. */
export function freeKilobytes(directory: string): string {
  return `"$(df -Pk -- ${directory} 2>/dev/null | sed -n '2s/^.* \\([0-9][0-9]*\\)  *[0-9][0-9]*% .*$/\\1/p')"`;
}

function script(directory: string, setup: string): string {
  const programs = [...PROGRAMS, ...SLURM_PROGRAMS];
  return `
${setup}
export LC_ALL=C
# Toolkit and driver are often where a shell that nobody sits at does not look.
found() { PATH="$PATH:/usr/local/cuda/bin:/usr/local/nvidia/bin" command -v "$1" 2>/dev/null; }
say() { printf '%s\\t%s\\n' "$1" "$2"; }
say home "$HOME"
say host "$(uname -n)"
say os "$(uname -s)"
say arch "$(uname -m)"
say libc "$(getconf GNU_LIBC_VERSION 2>/dev/null)"
say processors "$(getconf _NPROCESSORS_ONLN 2>/dev/null)"
say instructions "$(sed -n 's/^flags[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)"
say time "$(date +%s)"
directory=${pathWord(directory)}
mkdir -p -- "$directory" 2>/dev/null
if [ -d "$directory" ] && [ -w "$directory" ]; then say writable yes; fi
say free ${freeKilobytes('"$directory"')}
for program in ${programs.join(' ')}; do
  if found "$program" >/dev/null; then
    case $program in
      nvcc) say program "nvcc $("$(found nvcc)" --version 2>/dev/null | grep -o 'release [0-9.]*' | cut -d ' ' -f 2)" ;;
      sbatch | squeue | scancel | scontrol) say program "$program $("$program" --version 2>/dev/null | head -n 1)" ;;
      setsid) say program "$program" ;;
      *) say program "$program $("$program" --version 2>/dev/null | grep -o '[0-9][0-9]*\\.[0-9][0-9.]*' | head -n 1)" ;;
    esac
  fi
done
if smi=$(found nvidia-smi); then
  "$smi" --query-gpu=index,uuid,name,memory.total,driver_version --format=csv,noheader 2>/dev/null |
    while IFS= read -r gpu; do say gpu "$gpu"; done
fi
[ -z "\${CUDA_VISIBLE_DEVICES+set}" ] || say visible "$CUDA_VISIBLE_DEVICES"
# As the engine's library_loader.h looks for them. The loader's cache may name what is gone.
libraries=$( (ldconfig -p || /sbin/ldconfig -p) 2>/dev/null | sed -n 's/^.*=> //p' | grep -E '/(${CUDA_LIBRARIES.join('|')})\.so' |
    while IFS= read -r file; do [ ! -e "$file" ] || printf '%s\n' "$file"; done
  IFS=:
  for folder in \${STRIPED_CUDNN_PATH-}; do ls "$folder" "$folder/lib" "$folder/lib64"; done 2>/dev/null
  for folder in \${LD_LIBRARY_PATH-} /usr/local/cuda/lib64; do ls "$folder"; done 2>/dev/null)
for library in ${CUDA_LIBRARIES.join(' ')}; do
  case $libraries in *"$library.so"*) say cuda "$library" ;; esac
done
say directory "$(cd -- "$directory" 2>/dev/null && printf '%sx' "$PWD")"
`;
}

export const KILOBYTE = 1024;

/** Asks a machine about itself; `directory` is where runs go. */
export async function readFacts(
  shell: Shell,
  directory: string,
  setup: string,
  signal?: AbortSignal,
): Promise<Facts> {
  const { stdout, code, stderr, noise } = await shell.run(script(directory, setup), { signal });
  const text = stdout.toString('utf8');
  // The directory comes last and may hold newlines: it is the rest of the output.
  const [head = '', ...tail] = text.split('\ndirectory\t');
  if (code !== 0 && tail.length === 0) {
    throw new RunError(
      'target/setup',
      `the setup lines for ${shell.where} failed: ${stderr.trim().slice(-400)}`,
    );
  }
  const values = (key: string) =>
    head
      .split('\n')
      .flatMap((line) => (line.startsWith(`${key}\t`) ? [line.slice(key.length + 1).trim()] : []));
  const one = (key: string) => values(key)[0] ?? '';
  const free = one('free');
  const visibleDevices = values('visible')[0] ?? null;
  const [gpus, hiddenGpus] = visibleGpus(values('gpu'), visibleDevices);
  return {
    home: one('home'),
    host: one('host'),
    os: one('os'),
    arch: one('arch'),
    libc: one('libc'),
    processors: Number(one('processors')) || 1,
    instructions: new Set(one('instructions').split(' ').filter(Boolean)),
    free: /^\d+$/.test(free) ? Number(free) * KILOBYTE : null,
    directory: tail.join('\ndirectory\t').match(/^([^]*)x\n?$/)?.[1] ?? '',
    isWritable: one('writable') === 'yes',
    programs: new Map(values('program').map((line) => splitOnce(line))),
    gpus,
    hiddenGpus,
    visibleDevices,
    cudaLibraries: values('cuda'),
    time: Number(one('time')),
    noise,
  };
}

/** GPUs that programs see and those that are hidden, of lines `index, uuid, name, memory, driver`. */
function visibleGpus(lines: string[], visible: string | null): [string[], string[]] {
  const wanted = visible?.split(',').map((word) => word.trim());
  // Parts of GPUs have names that nvidia-smi does not tell here.
  const isSeen = (index: string, uuid: string) =>
    !wanted ||
    wanted.some((word) => word === index || /^MIG-/.test(word) || (word !== '' && uuid.startsWith(word)));
  const seen: string[] = [];
  const hidden: string[] = [];
  for (const line of lines) {
    const [index = '', uuid = '', ...rest] = line.split(', ');
    (isSeen(index, uuid) ? seen : hidden).push(rest.join(', '));
  }
  return [seen, hidden];
}

function splitOnce(line: string): [string, string] {
  const space = line.indexOf(' ');
  return space < 0 ? [line, ''] : [line.slice(0, space), line.slice(space + 1)];
}

/** Measures the machine at hand and fits a hardware profile to it. */
import {
  fitProfile,
  hardwareById,
  hardwareOfDevice,
  type HardwareProfile,
  type LinkProfile,
  type MeasuredStep,
} from '../../language/estimate/index.js';
import type { Plan, Precision } from '../../language/plan/plan.js';
import { nameOf, planOf } from './configuration.js';
import { measureLink } from './links.js';
import {
  benchPlans,
  BenchError,
  leastOf,
  unrestOf,
  type BenchHead,
  type BenchOptions,
  type BenchRow,
} from './measure.js';
import { trialsFor, type Trial } from './sets.js';

export interface CalibrateOptions extends Omit<BenchOptions, 'budget' | 'told'> {
  kind: 'cpu' | 'gpu';
  /** Seconds that measuring may take. */
  seconds: number;
  /** Devices whose traffic is measured; fewer than two: none. */
  ranks: number;
  /** Id of the profile; default: that of the known profile of the device, else one made of its name. */
  id?: string;
  /** Rounds done, of how many. */
  progress: (done: number, of: number, plan: string) => void;
}

export interface Calibration {
  profile: HardwareProfile;
  head: BenchHead;
  fitted: number;
  judged: number;
  /** How much longer half of the steps took when they were measured again: what else the machine was doing. */
  unrest: number;
  /** The link between devices, where it was measured. */
  link: LinkProfile | null;
  /** Why some plans, or the traffic, could not be measured. */
  skipped: string[];
}

/** Every plan is measured so often, at different times. */
const ROUNDS = 2;
const FEWEST_FITTED = 4;
/** Seconds that no four plans take. */
const UNHURRIED = 600;

/** "NVIDIA L40S" becomes nvidia-l40s. */
function idOf(device: string): string {
  const words = device
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '');
  return words.slice(0, 64) || 'device';
}

function machineName({ device, driver, date }: BenchHead): string {
  return [device, ...(driver ? [`driver ${driver}`] : []), date].join(', ');
}

/** What a device nobody knows is likely to share with one that is known; rates are measured anyway. */
function baseOf(head: BenchHead, kind: 'cpu' | 'gpu', id: string | undefined): HardwareProfile {
  if (kind === 'cpu') {
    const cpu = hardwareById('cpu')!;
    return { ...cpu, id: id ?? 'cpu', name: head.device };
  }
  const known = hardwareOfDevice(head.device);
  if (known) return { ...known, id: id ?? known.id, devices: [head.device] };
  const { multiprocessors: _, ...like } = hardwareById('h200-sxm')!;
  const rate = { value: head.matrixTeraflops * 1e12, origin: 'measured' as const, note: machineName(head) };
  return {
    ...like,
    id: id ?? idOf(head.device),
    name: head.device,
    devices: [head.device],
    peakFlops: { ...like.peakFlops, bf16: rate },
    denseFlops: { ...like.denseFlops, bf16: rate },
    links: [],
  };
}

function machineOf(head: BenchHead) {
  return {
    name: machineName(head),
    copyRate: head.copyTerabytesPerSecond * 1e12,
    matrixRate: head.matrixTeraflops * 1e12,
    memoryBytes: head.memoryBytes,
  };
}

/** A device without FP8 (or bf16) has no plans measured in it. */
function withoutUnmeasured(profile: HardwareProfile, steps: MeasuredStep[]): HardwareProfile {
  const has = (precision: Precision) => steps.some((step) => step.precision === precision);
  const keep = <T>(figures: Record<Precision, T | null>) => ({
    ...figures,
    ...(has('fp8') ? {} : { fp8: null }),
  });
  if (profile.kind === 'cpu') return profile;
  return { ...profile, peakFlops: keep(profile.peakFlops), denseFlops: keep(profile.denseFlops) };
}

/** Measures the trials, rounds interleaved, within the seconds. */
async function measure(plans: Plan[], options: CalibrateOptions) {
  const rounds = Array.from({ length: ROUNDS }, () => plans).flat();
  let done = 0;
  return benchPlans(rounds, {
    ...options,
    budget: options.seconds,
    told: ({ plan }) => options.progress(++done, rounds.length, plan),
  });
}

/** However slow the machine: what a fit needs at least, of plans that were not begun in time. */
async function atLeast(
  plans: readonly Plan[],
  rows: readonly BenchRow[],
  options: CalibrateOptions,
): Promise<BenchRow[]> {
  const begun = new Set(rows.map(({ plan }) => plan));
  const measured = plans.filter(({ name }) =>
    rows.some((row) => row.plan === name && row.skipped === undefined),
  );
  const missing = plans.filter(({ name }) => !begun.has(name)).slice(0, FEWEST_FITTED - measured.length);
  if (measured.length >= FEWEST_FITTED || missing.length === 0) return [];
  const told = ({ plan }: BenchRow) => options.progress(0, missing.length, plan);
  return (await benchPlans(missing, { ...options, budget: UNHURRIED, told })).rows;
}

/** The link between this machine's devices, or why it was not measured. */
async function trafficOf({
  runner,
  backend,
  ranks,
}: CalibrateOptions): Promise<{ link?: LinkProfile; reason?: string }> {
  if (ranks < 2) return {};
  try {
    return { link: (await measureLink(runner, backend, ranks)).link };
  } catch (error) {
    if (!(error instanceof BenchError)) throw error;
    return { reason: `traffic between ${ranks} devices: ${error.message}` };
  }
}

/** Links that the measured one, within a node, does not replace. */
function others(links: readonly LinkProfile[]): LinkProfile[] {
  return links.filter(({ scope }) => scope !== 'node');
}

/** Throws BenchError where the engine cannot measure, or too little of it. */
export async function calibrate(options: CalibrateOptions): Promise<Calibration> {
  const trials = new Map<string, Trial>();
  const plans: Plan[] = [];
  for (const trial of trialsFor(options.kind)) {
    trials.set(nameOf(trial), trial);
    plans.push(await planOf(trial));
  }
  const { head, rows } = await measure(plans, options);
  const fits = plans.filter(({ name }) => trials.get(name)!.use === 'fit');
  rows.push(...(await atLeast(fits, rows, options)));
  const steps = leastOf(rows, plans);
  const of = (use: Trial['use']) => steps.filter(({ plan }) => trials.get(plan.name)!.use === use);
  const fitted = of('fit');
  const judged = of('judge');
  if (fitted.length < FEWEST_FITTED) {
    throw new BenchError(
      `only ${fitted.length} of ${plans.length} plans could be measured; give it more time (--seconds), or a machine with less to do`,
      'calibrate/too-few',
    );
  }
  const base = withoutUnmeasured(baseOf(head, options.kind, options.id), steps);
  const skipped = rows.flatMap(({ plan, skipped }) => (skipped === undefined ? [] : [`${plan}: ${skipped}`]));
  const traffic = await trafficOf(options);
  if (traffic.reason !== undefined) skipped.push(traffic.reason);
  const link = traffic.link ?? null;
  const profile = fitProfile(base, machineOf(head), fitted, judged);
  return {
    profile: link ? { ...profile, links: [link, ...others(profile.links)] } : profile,
    unrest: unrestOf(rows),
    link,
    head,
    fitted: fitted.length,
    judged: judged.length,
    skipped: [...new Set(skipped)],
  };
}

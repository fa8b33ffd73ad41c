import { JOB } from './record.js';

/** Slurm's reasons for a job that waits, in words. */
const REASONS: Record<string, string> = {
  Resources: 'waiting for free nodes',
  Priority: 'waiting behind jobs of higher priority',
  Dependency: 'waiting for another job',
  BeginTime: 'waiting for its start time (after a requeue Slurm holds a job back for a while)',
  JobHeldUser: 'held by its owner; release it with scontrol release',
  JobHeldAdmin: 'held by an administrator',
  Reservation: 'waiting for its reservation to begin',
  Licenses: 'waiting for a licence',
  PartitionDown: 'the partition is down',
  PartitionInactive: 'the partition starts no jobs now',
  PartitionNodeLimit: 'asks for more nodes than the partition allows',
  PartitionTimeLimit: 'asks for more time than the partition allows',
  InvalidAccount: 'the account is not valid; set "account" of the target',
  InvalidQOS: 'the QOS is not valid; set "qos" of the target',
  AccountNotAllowed: 'the account may not use this partition',
  NodeDown: 'a node it needs is down',
  ReqNodeNotAvail: 'a node it needs is not available now',
  launch_failed_requeued_held: 'its start failed and it is held; release it with scontrol release',
  JobLaunchFailure: 'its start failed on the node',
};

const STATES: Record<string, string> = {
  CONFIGURING: 'its nodes are being made ready',
  COMPLETING: 'ending',
  SUSPENDED: 'suspended by Slurm',
  REQUEUED: 'put back into the queue',
  REQUEUE_HOLD: 'put back into the queue and held',
  RESIZING: 'being resized',
  SIGNALING: 'being signalled',
  STAGE_OUT: 'its files are being staged out',
  STOPPED: 'halted by Slurm',
  SPECIAL_EXIT: 'put back into the queue and held',
};

/** How a job ended, in words; the run's own last word, if it has one, says more. */
const ENDS: Record<string, string> = {
  CANCELLED: 'its job was cancelled outside of Striped',
  TIMEOUT: 'its job reached its time limit',
  PREEMPTED: 'its job was preempted by one of higher priority',
  NODE_FAIL: 'its node failed',
  BOOT_FAIL: 'its node did not start',
  OUT_OF_MEMORY: 'its job used more memory than it had asked for',
  DEADLINE: 'its job reached its deadline',
  FAILED: 'its job failed',
  COMPLETED: 'its job ended before the run did',
};

export interface Job {
  id: string;
  state: string;
  node: string;
  reason: string;
}

/** A line of squeue in our format, `ID|STATE|NODES|REASON`. */
export function readJob(line: string): Job | null {
  const [id, state, node, ...reason] = line.split('|');
  if (id === undefined || state === undefined || node === undefined || !JOB.test(id)) return null;
  return { id, state, node, reason: reason.join('|').replace(/^\((.*)\)$/, '$1') };
}

export function hasEnded({ state }: Job): boolean {
  return Object.hasOwn(ENDS, state) || state === 'REVOKED';
}

/** Where a live job stands. */
export function describeJob({ id, state, node, reason }: Job): string {
  if (state === 'RUNNING') return `job ${id} on ${node}`;
  if (state === 'PENDING') return `job ${id}: ${REASONS[reason.split(',')[0]!] ?? waiting(reason)}`;
  return `job ${id}: ${STATES[state] ?? state.toLowerCase()}`;
}

function waiting(reason: string): string {
  if (reason === '' || reason === 'None') return 'queued';
  if (/^(Assoc|QOS).*(Limit|GRES|Cpu|Node|Job|Mem|Minutes)/.test(reason)) {
    return `waiting: a limit of the account or QOS is reached (${reason})`;
  }
  return `waiting (${reason})`;
}

/** How a job ended. */
export function describeEnd({ id, state, reason }: Job): string {
  const more = reason !== '' && reason !== 'None' && reason !== state ? ` (${reason})` : '';
  return `${ENDS[state] ?? `its job ended as ${state}`}, job ${id}${more}`;
}

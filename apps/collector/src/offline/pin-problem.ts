/** Errors of reading pins and of starting, as one line with a remedy and an exit code. Pure. */
import { BpfError, SpoofError, type SpoofErrorCode } from '@bailiff/bpf';
import { EXIT, type ExitCode, ServiceError, type ServiceErrorCode } from '@bailiff/service';

export interface PinProblem {
  exit: ExitCode;
  message: string;
}

const PRIVILEGE = ['EPERM', 'EACCES'];

/** @returns null: an unknown error, which is a bug and keeps its stack */
export function pinProblem(error: unknown, bpfDir: string): PinProblem | null {
  if (error instanceof SpoofError && error.code === 'ERR_SPOOF_ABI') {
    const problem = `${bpfDir}: ${error.message}, which this program cannot read`;
    const remedy =
      'use the version that runs here, or remove the pins with `collector detach --all` and start this one';
    return { exit: EXIT.dependencyUnreachable, message: `${problem}: ${remedy}` };
  }
  if (error instanceof SpoofError) {
    const remedy = 'restart the collector, which creates missing pins again';
    return { exit: EXIT.dependencyUnreachable, message: `${bpfDir}: ${error.message}: ${remedy}` };
  }
  const errno = errnoOf(error);
  if (errno === null) return null;
  const { message } = error as Error;
  return isPrivilege(error)
    ? { exit: EXIT.missingPrivilege, message: `${firstLine(message)}: run this as root, who owns pins and state` }
    : { exit: EXIT.dependencyUnreachable, message: `${firstLine(message)}: it may have just disappeared; try again` };
}

type StartProblem = [code: ServiceErrorCode, remedy: string];
const START: Readonly<Partial<Record<SpoofErrorCode, StartProblem>>> = {
  ERR_SPOOF_BPFFS: [
    'SERVICE_CONFIG',
    'mount one (`mount -t bpf bpf /sys/fs/bpf`), or set --bpf-dir to a directory directly under one',
  ],
  ERR_SPOOF_IN_USE: ['SERVICE_CONFIG', 'stop it, or give this one its own --bpf-dir and --state-dir'],
  ERR_SPOOF_MODE: ['SERVICE_KERNEL', 'use --hook auto, or a kernel that has it (6.6)'],
  ERR_SPOOF_ABI: ['SERVICE_CONFIG', 'remove them with `collector detach --all`, then run `collector attach`'],
  ERR_SPOOF_OBJECT: ['SERVICE_CONFIG', 'or set BAILIFF_SPOOF_OBJECT to its path'],
};

/**
 * Why a collector cannot start, for the operator: one line with the remedy and an exit code,
 * without a stack. Returns an unknown error unchanged.
 * @param status text of /proc/self/status: without CAP_PERFMON the verifier rejects programs with a
 *   message that names no capability
 */
export function startProblem(error: unknown, status = ''): unknown {
  if (error instanceof BpfError && error.code === 'BPF_LOAD' && lacksPerfmon(status)) return withoutPerfmon();
  if (error instanceof BpfError && error.verifierLog) return withoutVerifier(error);
  const known = error instanceof SpoofError ? START[error.code] : undefined;
  const privilege: StartProblem | undefined = isPrivilege(error)
    ? ['SERVICE_PRIVILEGE', 'run this as root, or give it the capabilities']
    : undefined;
  const [code, remedy] = known ?? privilege ?? [];
  if (!code) return error;
  return withoutStack(new ServiceError(code, `${firstLine((error as Error).message)}: ${remedy}`));
}

const lacksPerfmon = (status: string) =>
  !isCapable(status, CAPABILITY.perfmon) && !isCapable(status, CAPABILITY.sysAdmin);

/**
 * On 6.18 the verifier then keeps states apart that it would merge, and fails at a million
 * instructions.
 */
function withoutPerfmon(): ServiceError {
  const message = 'needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: without the last, the verifier rejects these programs';
  return withoutStack(new ServiceError('SERVICE_PRIVILEGE', message));
}

/**
 * The verifier also reports a rejected program as EACCES, without a missing privilege. The cause
 * has its log.
 */
function withoutVerifier(cause: BpfError): ServiceError {
  const floor = 'they need Linux 5.12 or later; on such a kernel this is a bug: report it with this log';
  const message = `this kernel refuses the programs that judge packets: ${firstLine(cause.message)}: ${floor}`;
  return withoutStack(new ServiceError('SERVICE_KERNEL', message, { cause }));
}

/** The stack would only show this program. */
function withoutStack(error: ServiceError): ServiceError {
  error.stack = error.message;
  return error;
}

/** Whether an error is a missing privilege. */
export function isPrivilege(error: unknown): boolean {
  return PRIVILEGE.includes(errnoOf(error) ?? '');
}

function errnoOf(error: unknown): string | null {
  if (error instanceof BpfError) return error.errnoName;
  const code = error instanceof Error && 'syscall' in error ? (error as NodeJS.ErrnoException).code : undefined;
  return code ?? null;
}

const firstLine = (text: string): string => text.split('\n', 1)[0] as string;

/** Numbers of include/uapi/linux/capability.h. */
const CAPABILITY = { sysAdmin: 21, perfmon: 38 } as const;

/** By the text of /proc/<pid>/status. False only if it shows that the capability is missing. */
function isCapable(status: string, capability: number): boolean {
  const mask = /^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1];
  return mask === undefined || ((BigInt(`0x${mask}`) >> BigInt(capability)) & 1n) === 1n;
}

/** What stands in the way of reading pins, in one line that says what to do. Pure. */
import { BpfError, SpoofError, type SpoofErrorCode } from '@bailiff/bpf';
import { EXIT, type ExitCode, ServiceError, type ServiceErrorCode } from '@bailiff/service';
import { CAPABILITY, isCapable } from '../process/capabilities.ts';

export interface PinProblem {
  exit: ExitCode;
  message: string;
}

const PRIVILEGE = ['EPERM', 'EACCES'];

/** Null: nothing that is known of pins, so a bug that keeps its stack. */
export function pinProblem(error: unknown, bpfDir: string): PinProblem | null {
  if (error instanceof SpoofError && error.code === 'ERR_SPOOF_ABI') {
    const what = `${bpfDir}: ${error.message}, which this program does not read`;
    const how = 'ask with the version that runs here, or remove them by `collector detach --all` and start this one';
    return { exit: EXIT.dependencyUnreachable, message: `${what}: ${how}` };
  }
  if (error instanceof SpoofError) {
    const how = 'restart the collector, which makes anew what is missing';
    return { exit: EXIT.dependencyUnreachable, message: `${bpfDir}: ${error.message}: ${how}` };
  }
  const errno = errnoOf(error);
  if (errno === null) return null;
  const { message } = error as Error;
  return isPrivilege(error)
    ? { exit: EXIT.missingPrivilege, message: `${firstLine(message)}: run this as root, to whom pins and state belong` }
    : { exit: EXIT.dependencyUnreachable, message: `${firstLine(message)}: it may have just gone; ask again` };
}

type Start = [code: ServiceErrorCode, remedy: string];
const START: Readonly<Partial<Record<SpoofErrorCode, Start>>> = {
  ERR_SPOOF_BPFFS: [
    'SERVICE_CONFIG',
    'mount one (`mount -t bpf bpf /sys/fs/bpf`), or name a directory directly under one by --bpf-dir',
  ],
  ERR_SPOOF_IN_USE: ['SERVICE_CONFIG', 'end it, or give this one a --bpf-dir and a --state-dir of its own'],
  ERR_SPOOF_MODE: ['SERVICE_KERNEL', 'say --hook auto, or run a kernel that has it (6.6)'],
  ERR_SPOOF_ABI: ['SERVICE_CONFIG', 'remove them by `collector detach --all`, then `collector attach`'],
  ERR_SPOOF_OBJECT: ['SERVICE_CONFIG', 'or set BAILIFF_SPOOF_OBJECT to where it is'],
};

/**
 * Why a collector cannot start, for who has to mend it: one line with the remedy and an exit code, without a stack, which would speak of
 * this program. The same error when it is none of those that are known.
 * @param status of this process in /proc: without CAP_PERFMON a load is refused in the verifier's words, which name no right
 */
export function startProblem(error: unknown, status = ''): unknown {
  if (error instanceof BpfError && error.code === 'BPF_LOAD' && lacksPerfmon(status)) return withoutPerfmon();
  if (error instanceof BpfError && error.verifierLog) return withoutVerifier(error);
  const known = error instanceof SpoofError ? START[error.code] : undefined;
  const privilege: Start | undefined = isPrivilege(error)
    ? ['SERVICE_PRIVILEGE', 'run this as root, or give it the capabilities']
    : undefined;
  const [code, remedy] = known ?? privilege ?? [];
  if (!code) return error;
  const told = new ServiceError(code, `${firstLine((error as Error).message)}: ${remedy}`);
  told.stack = told.message;
  return told;
}

const lacksPerfmon = (status: string) =>
  !isCapable(status, CAPABILITY.perfmon) && !isCapable(status, CAPABILITY.sysAdmin);

/** Seen on 6.18: it then keeps states apart that it would merge, and gives up at a million instructions. */
function withoutPerfmon(): ServiceError {
  const told = new ServiceError(
    'SERVICE_PRIVILEGE',
    'needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: the verifier refuses these programs to a process without the last',
  );
  told.stack = told.message;
  return told;
}

/** EACCES is the verifier's word for what it refuses too, and then no matter of rights. The cause has its log. */
function withoutVerifier(cause: BpfError): ServiceError {
  const floor = 'they need Linux 5.12 or later; on one that is, this is a fault of theirs: report it with this log';
  const message = `this kernel refuses the programs that judge packets: ${firstLine(cause.message)}: ${floor}`;
  const told = new ServiceError('SERVICE_KERNEL', message, { cause });
  told.stack = told.message;
  return told;
}

/** Whether an error says that this process may not. */
export function isPrivilege(error: unknown): boolean {
  return PRIVILEGE.includes(errnoOf(error) ?? '');
}

function errnoOf(error: unknown): string | null {
  if (error instanceof BpfError) return error.errnoName;
  const code = error instanceof Error && 'syscall' in error ? (error as NodeJS.ErrnoException).code : undefined;
  return code ?? null;
}

const firstLine = (text: string): string => text.split('\n', 1)[0] as string;

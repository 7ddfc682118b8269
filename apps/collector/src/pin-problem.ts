/** What stands in the way of reading pins, in one line that says what to do. Pure. */
import { BpfError, SpoofError } from '@bailiff/bpf';
import { EXIT, type ExitCode } from '@bailiff/service';

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

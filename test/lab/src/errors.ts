/**
 * The lab's error class. `code` is stable. `exitCode` follows the other commands: 2 wrong flags, 3
 * missing feature or program, 4 missing privilege, 6 bad configuration, 7 dependency not reachable,
 * 1 otherwise.
 */
export type LabErrorCode =
  | 'LAB_USAGE'
  | 'LAB_MISSING_PROGRAM'
  | 'LAB_MISSING_FEATURE'
  | 'LAB_NOT_ROOT'
  | 'LAB_NOT_FOUND'
  | 'LAB_EXISTS'
  | 'LAB_AMBIGUOUS'
  | 'LAB_COMMAND_FAILED'
  | 'LAB_COMMAND_TIMEOUT'
  | 'LAB_PROCESS_ENDED'
  | 'LAB_NOT_READY'
  | 'LAB_CNI'
  | 'LAB_LEFTOVER'
  | 'LAB_INTERRUPTED';

const EXIT_CODES: Partial<Record<LabErrorCode, number>> = {
  LAB_USAGE: 2,
  LAB_MISSING_PROGRAM: 3,
  LAB_MISSING_FEATURE: 3,
  LAB_NOT_ROOT: 4,
  LAB_NOT_FOUND: 2,
  LAB_EXISTS: 2,
  LAB_AMBIGUOUS: 2,
  LAB_NOT_READY: 7,
  LAB_PROCESS_ENDED: 7,
  LAB_INTERRUPTED: 130,
};

export class LabError extends Error {
  readonly code: LabErrorCode;
  constructor(code: LabErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LabError';
    this.code = code;
  }
  get exitCode(): number {
    return EXIT_CODES[this.code] ?? 1;
  }
}

/** Node's error codes for missing privileges. */
const NOT_PERMITTED = new Set(['EACCES', 'EPERM']);

/**
 * Prints an error of a command and returns its exit code; expected errors without a stack. @param
 * debug print the stack
 */
export function reportError(error: unknown, command: string, debug: boolean): { text: string; exitCode: number } {
  const { message, stack, code } = error as Partial<Error> & { code?: unknown };
  const text = `${command}: ${message ?? String(error)}`;
  const trace = debug ? `\n${stack ?? ''}` : '';
  if (error instanceof LabError) return { text: text + trace, exitCode: error.exitCode };
  if (NOT_PERMITTED.has(String(code))) return { text: `${text}\nit needs root${trace}`, exitCode: 4 };
  const hint = debug ? '' : '\nunexpected error: run it again with BAILIFF_DEBUG=1 and report the output';
  return { text: text + hint + trace, exitCode: 1 };
}

/** True if the user requested stacks. */
export const debugWanted = () => (process.env['BAILIFF_DEBUG'] ?? '') !== '';

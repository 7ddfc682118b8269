/**
 * The lab's one error class. `code` is stable; `exitCode` follows the other commands: 2 wrong flags, 3 the machine lacks a
 * feature or a program, 4 missing privilege, 6 bad configuration, 7 a part that must answer does not, 1 anything else.
 */
export type LabErrorCode =
  | 'LAB_USAGE'
  | 'LAB_MISSING_PROGRAM'
  | 'LAB_MISSING_FEATURE'
  | 'LAB_NOT_ROOT'
  | 'LAB_NOT_FOUND'
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

/**
 * Errors and exit codes of a Bailiff process. Exit codes follow systemd.exec(5), so that a unit
 * file or an operator can distinguish wrong flags from an unreachable bus without reading the log.
 */

import { EXIT, type ExitCode } from './exit-codes.ts';

export { EXIT, type ExitCode };

export type ServiceErrorCode =
  /** Flags are wrong; `fields` names them. */
  | 'SERVICE_BAD_FLAGS'
  /** The kernel lacks a feature that the process requires. */
  | 'SERVICE_KERNEL'
  /** The process lacks a capability or a permission. */
  | 'SERVICE_PRIVILEGE'
  /**
   * File or environment is wrong, or conflicts with the state of the machine; `fields` names the
   * keys.
   */
  | 'SERVICE_CONFIG'
  /** A dependency that is required at start cannot be reached. */
  | 'SERVICE_DEPENDENCY'
  /** A step of the shutdown took longer than `stopTimeoutMs`. */
  | 'SERVICE_STOP_TIMEOUT';

const EXIT_OF: Record<ServiceErrorCode, ExitCode> = {
  SERVICE_BAD_FLAGS: EXIT.badFlags,
  SERVICE_KERNEL: EXIT.kernelLacksFeature,
  SERVICE_PRIVILEGE: EXIT.missingPrivilege,
  SERVICE_CONFIG: EXIT.badConfiguration,
  SERVICE_DEPENDENCY: EXIT.dependencyUnreachable,
  SERVICE_STOP_TIMEOUT: EXIT.bug,
};

/** An operating error that ends the process with a known exit code. */
export class ServiceError extends Error {
  readonly code: ServiceErrorCode;
  readonly exitCode: ExitCode;
  /** Dotted paths of the invalid configuration fields; empty for other errors. */
  readonly fields: readonly string[];
  constructor(code: ServiceErrorCode, message: string, options: ErrorOptions & { fields?: readonly string[] } = {}) {
    super(message, options);
    this.name = 'ServiceError';
    this.code = code;
    this.exitCode = EXIT_OF[code];
    this.fields = options.fields ?? [];
  }
}

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'BUS_UNREACHABLE',
  'BUS_TIMEOUT',
  'KUBE_UNREACHABLE',
  'KUBE_TIMEOUT',
]);
const FORBIDDEN = new Set([
  'EPERM',
  'EACCES',
  'BUS_PERMISSION',
  'BUS_AUTHENTICATION',
  'KUBE_FORBIDDEN',
  'KUBE_UNAUTHORIZED',
]);

/**
 * Exit code of an error: its own `exitCode`, else derived from its `code`, else from its cause,
 * else 1 (a bug).
 */
export function exitCodeOf(error: unknown, depth = 0): ExitCode {
  if (typeof error !== 'object' || error === null || depth > 8) return EXIT.bug;
  const { exitCode, code, cause } = error as { exitCode?: unknown; code?: unknown; cause?: unknown };
  const known = Object.values(EXIT).find((value) => value === exitCode);
  if (known !== undefined) return known;
  if (typeof code === 'string' && UNREACHABLE.has(code)) return EXIT.dependencyUnreachable;
  if (typeof code === 'string' && FORBIDDEN.has(code)) return EXIT.missingPrivilege;
  return exitCodeOf(cause, depth + 1);
}

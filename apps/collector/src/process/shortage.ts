/**
 * Errors that mean that the process or the node lacks descriptors or memory at this moment. What
 * failed is repeated soon, and does not wait for a slow timer. Pure.
 */
import { backoffMs } from '@bailiff/service/retry';

const CODES = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'ENOBUFS']);

/** @param error of Node (`code`) or of the native binding (`errnoName`) */
export function isShortage(error: unknown): boolean {
  const { code, errnoName } = (error ?? {}) as { code?: unknown; errnoName?: unknown };
  return [code, errnoName].some((name) => typeof name === 'string' && CODES.has(name));
}

/** Wait before a repetition, after this many failures in a row. */
export const shortageWaitMs = (failures: number): number => backoffMs(failures, { baseMs: 20, maxMs: 1_000 });

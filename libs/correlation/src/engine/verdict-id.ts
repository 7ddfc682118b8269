/**
 * Verdict ids: a hash of rule, group and cooldown epoch. Two replicas, a restart after a crash and
 * a later replay compute the same id, so the bus rejects the second copy. An id has 32 lower-case
 * hexadecimal digits and is a valid subject token.
 */
import { createHash } from 'node:crypto';

/**
 * Number of the cooldown epoch that contains the time. Epochs have fixed bounds, so no state of
 * earlier verdicts is needed.
 */
export function cooldownEpoch(triggeredAtMicros: number, cooldownMicros: number): number {
  return Math.floor(triggeredAtMicros / cooldownMicros);
}

export function verdictIdOf(rule: string, groupBy: string, groupKey: string, epoch: number): string {
  // JSON is unambiguous: different parts never serialize to the same text.
  return createHash('sha256')
    .update(JSON.stringify(['verdict', rule, groupBy, groupKey, epoch]))
    .digest('hex')
    .slice(0, 32);
}

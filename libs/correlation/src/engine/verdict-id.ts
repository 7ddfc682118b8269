/**
 * The name of a verdict: a function of the rule, the group and the cooldown epoch alone, so that two replicas, a start after a crash and
 * a replay a week later compute the same one and the bus refuses the second copy. 32 lower case hexadecimal digits: a subject token.
 */
import { createHash } from 'node:crypto';

/** Number of the cooldown epoch that holds the time. Epochs are fixed, so that no memory of earlier verdicts is needed. */
export function cooldownEpoch(triggeredAtMicros: number, cooldownMicros: number): number {
  return Math.floor(triggeredAtMicros / cooldownMicros);
}

export function verdictIdOf(rule: string, groupBy: string, groupKey: string, epoch: number): string {
  // JSON keeps the parts apart: no two lists have one spelling.
  return createHash('sha256')
    .update(JSON.stringify(['verdict', rule, groupBy, groupKey, epoch]))
    .digest('hex')
    .slice(0, 32);
}

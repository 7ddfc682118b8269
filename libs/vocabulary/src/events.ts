/**
 * Words of violations, verdicts and responses, in the order of the Avro enums. Avro schemas are
 * JSON and repeat them; a test in libs/schemas holds both equal.
 */

/** spoof: packets. lsm: operations of programs. */
export const VIOLATION_KINDS = ['spoof', 'lsm'] as const;

/** Severity of rules, verdicts and policies, in Sigma's words. */
export const LEVELS = ['informational', 'low', 'medium', 'high', 'critical'] as const;
export type Level = (typeof LEVELS)[number];

/** What a correlation rule counts for. */
export const GROUP_BY = ['pod', 'owner', 'namespace', 'node'] as const;

/** Types of correlation rules, in Sigma's words. */
export const RULE_TYPES = ['event_count', 'value_count', 'temporal', 'temporal_ordered'] as const;

/** Actions of response policies. */
export const RESPONSE_ACTIONS = ['observe', 'label', 'quarantine', 'evict', 'delete', 'cordon', 'capture'] as const;
export type ResponseActionName = (typeof RESPONSE_ACTIONS)[number];
/** Actions that delete a pod. */
export const REMOVING_ACTIONS: ReadonlySet<string> = new Set<ResponseActionName>(['evict', 'delete']);
/** Actions that can be undone, and so can expire. */
export const UNDOABLE_ACTIONS: ReadonlySet<string> = new Set<ResponseActionName>(['label', 'quarantine', 'cordon']);
/** Actions that take a pod out of service: they use budget and need a reservation. */
export const DISRUPTIVE_ACTIONS: ReadonlySet<string> = new Set<ResponseActionName>(['quarantine', 'evict', 'delete']);

/** How much of a process's arguments a capture contains. */
export const CAPTURED_ARGUMENTS = ['none', 'redacted', 'full'] as const;

/** Keys of the bucket `bailiff_siem`, in which the siem-relay stores how far it has come. */

/** Servers of Alertmanager, and webhooks, that one siem-relay delivers to. */
export const MAX_ALERTMANAGERS = 3;
export const MAX_WEBHOOKS = 4;
const numbered = (kind: string, count: number) => Array.from({ length: count }, (_, index) => `${kind}-${index + 1}`);
/** Keys of the positions of outputs whose name operators choose; the value has the name. */
export const NAMED_POSITIONS: Readonly<Record<string, readonly string[]>> = {
  alertmanager: numbered('alertmanager', MAX_ALERTMANAGERS),
  webhook: numbered('webhook', MAX_WEBHOOKS),
};
/** Keys of `bailiff_siem`: positions of the siem-relay in its streams, and of its outputs in SIEM. */
export const SIEM_POSITIONS: readonly string[] = [
  ...['violations', 'verdicts', 'responses'],
  ...['syslog', 'otlp', 'openreports', ...Object.values(NAMED_POSITIONS).flat()],
];

/** What labtool says, one JSON object a line; anything else on its stdout is a programmer's error. */
export interface SendReport {
  event: 'first' | 'progress' | 'done';
  sent?: number;
  refused?: number;
  atMicros?: number;
}
export interface CountReport {
  event: 'ready' | 'progress' | 'done';
  counts: number[];
  overrun: number;
}
export interface TalkReport {
  event: 'progress' | 'done';
  sent: number;
  received: number;
  byKind: Record<string, [sent: number, received: number]>;
}
export const parseReport = <T>(line: string): T => JSON.parse(line) as T;

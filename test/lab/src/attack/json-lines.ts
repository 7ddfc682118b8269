/** Output of labtool: one JSON object per line. Any other output is a bug. */
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

/** An event from its message. Pure. */
import { parseSubject } from '@bailiff/bus';
import type { Contents, Format, SiemEvent } from './api.ts';

export interface Received {
  subject: string;
  data: Uint8Array;
  headers?: { get(name: string): string } | undefined;
}

/**
 * null: siem-relay has not written it. A server's response or trace can be stored under a subject of
 * SIEM (docs/threat-model.md), so it is no reason to end.
 */
export function eventOf<F extends Format>(
  format: F,
  { subject, data, headers }: Received,
  deliveries: number,
): SiemEvent<F> | null {
  const parsed = parseSubject(subject);
  const header = (name: string) => headers?.get(name) ?? '';
  const uid = header('Bailiff-Uid');
  const content = contentOf(format, Buffer.from(data).toString('utf8'));
  if (parsed?.what !== 'siem' || uid === '' || content === null) return null;
  return {
    uid,
    format,
    className: parsed.className,
    namespace: parsed.namespace,
    node: header('Bailiff-Node'),
    severity: Number(header('Bailiff-Severity')),
    timeMs: Math.floor(Number(header('Bailiff-Time')) / 1000),
    deliveries,
    data: content as Contents[F],
  };
}

function contentOf(format: Format, text: string): unknown {
  if (format === 'cef') return text;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

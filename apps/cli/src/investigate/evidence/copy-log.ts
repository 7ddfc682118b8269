/**
 * `bailiff evidence copy-log`: copies a log from the evidence-log that keeps it, and continues the copy later.
 *
 * The copy computes the tree itself from the leaves. It stores a head only if the leaves of before are still the
 * beginning of that tree, so a log that was rewritten since the last copy is found here. A copy is not trusted by
 * `evidence verify`: it needs no key. Limits: MAX_PAGE_BYTES a page; one page in memory.
 */
import { checkpointIn, EvidenceError, LOGGED_STREAMS, LogWriter, rootOf } from '@bailiff/evidence';
import { timeLimit } from '@bailiff/service/retry';
import { CliError } from '../../shared/errors.ts';

const TIMEOUT_MS = 30_000;
const MAX_HEAD_BYTES = 64 * 1024;
/** Twice what a page has. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;
const LINE = /^([A-Z_]{1,32}) (\d{1,16}) (\d{1,16}) ([A-Za-z0-9+/]{43}=)$/;

async function read(url: string, most: number, signal: AbortSignal): Promise<string> {
  const failed = (cause: unknown) =>
    new CliError('CLI_BUS', `cannot read ${url}: ${(cause as Error).message}`, {
      cause,
      remedy:
        'forward the port of the evidence-log: `kubectl -n bailiff-system port-forward statefulset/bailiff-evidence-log 9471`',
    });
  try {
    using limit = timeLimit(TIMEOUT_MS, signal);
    const response = await fetch(url, { redirect: 'error', signal: limit.signal });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const parts: Buffer[] = [];
    let length = 0;
    for await (const part of response.body ?? []) {
      length += part.length;
      if (length > most) throw new Error(`the page has more than ${most} bytes`);
      parts.push(Buffer.from(part));
    }
    return Buffer.concat(parts).toString();
  } catch (cause) {
    signal.throwIfAborted();
    throw failed(cause);
  }
}

/** @param onLeaves called with the number of leaves after each page @throws CliError; EvidenceError EVIDENCE_LOG */
export async function copyLog(
  base: string,
  directory: string,
  { signal, onLeaves }: { signal: AbortSignal; onLeaves: (size: number, of: number) => void },
): Promise<{ origin: string; before: number; size: number }> {
  const url = base.replace(/\/+$/, '');
  const note = await read(`${url}/checkpoint`, MAX_HEAD_BYTES, signal);
  const head = checkpointIn(note);
  const log = new LogWriter(directory);
  try {
    const before = log.size;
    const kept = log.note === '' ? null : checkpointIn(log.note);
    if (kept && kept.origin !== head.origin)
      throw new CliError('CLI_STATE', `${directory} has the log ${kept.origin}, and ${url} has ${head.origin}`);
    if (head.size < before)
      throw new EvidenceError('EVIDENCE_LOG', `the log has ${head.size} messages, and had ${before}: it went back`);
    while (log.size < head.size) {
      const lines = (await read(`${url}/leaves/${log.size}`, MAX_PAGE_BYTES, signal)).split('\n').slice(0, -1);
      if (lines.length === 0) throw new CliError('CLI_BUS', `${url} has fewer messages than its head says`);
      for (const line of lines.slice(0, head.size - log.size)) {
        const [, stream = '', created = '', sequence = '', hash = ''] = LINE.exec(line) ?? [];
        if (!LOGGED_STREAMS.has(stream)) throw new CliError('CLI_BUS', `${url} has a leaf of another form`);
        log.add(stream, Number(created), Number(sequence), Buffer.from(hash, 'base64'));
      }
      log.append();
      onLeaves(log.size, head.size);
    }
    // Otherwise the next start cuts off what was added.
    if (Buffer.compare(rootOf(head.size, log.at), head.root) !== 0)
      throw new EvidenceError(
        'EVIDENCE_LOG',
        before > 0
          ? `the log of ${head.size} messages does not continue the ${before} that were copied: it was rewritten`
          : 'the leaves do not give the root of the head',
      );
    if (note !== log.note) log.storeHead(note);
    return { origin: head.origin, before, size: head.size };
  } finally {
    log.close();
  }
}

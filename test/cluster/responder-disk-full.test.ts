// A responder on a bus whose disk is full. While there is no room for a dead letter, the responder
// neither skips the message nor exits, and reports what it waits for. With room again every dead
// letter is stored and every verdict gets its response.
import path from 'node:path';
import { filters, getLastMessage, publishOnce, responseSubject, streamInfo, verdictSubject } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { recordOf } from '@bailiff/response';
import { encodeResponse, encodeVerdict, type Verdict } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { fullDiskOf, SmallDisk } from '../support/small-disk.ts';
import { acting, Rig } from './responder/rig.ts';

/** All long fields of a verdict: too large for the rest of a block. */
const LONG: Partial<Verdict> = {
  reason: 'x'.repeat(4_000),
  tags: Array.from({ length: 32 }, () => 't'.repeat(190)),
  vectors: Array.from({ length: 32 }, () => 'v'.repeat(380)),
};
/** A block of the file system: a longer message needs another one. */
const BLOCK_BYTES = 4_096;
/** A silent server is detected by the second dead letter without an acknowledgement, 5 s each. */
const UNTIL_SILENCE_MS = 30_000;

it('a full disk - reading waits for writes, with a report; with room again every verdict gets its response', async () => {
  await using disk = await SmallDisk.mount();
  await using rig = await Rig.start(await startNats({ storeDir: path.join(disk.place, 'store') }));
  await rig.policies({ label: acting('label', [{ action: 'label' }]) });
  const first = await rig.verdict(rig.pod(), { rule: 'label' });
  const lying = rig.verdictOf(rig.pod(), { rule: 'label', ...LONG });
  const elsewhere = verdictSubject({ ...lying, level: 'low' });
  await publishOnce(rig.bus, elsewhere, encodeVerdict(lying));
  const last = await rig.verdict(rig.pod(), { rule: 'label' });
  const task = { verdictId: first.verdictId, policy: 'label', action: 'label' } as const;
  const record = { ...recordOf(task, first, 'succeeded', 'terminal'), reason: 'x'.repeat(4_000) };
  const forged = { ...record, responseId: 'f'.repeat(32), apiPath: 'y'.repeat(1_000) };
  await publishOnce(rig.bus, responseSubject(forged), encodeResponse(forged));

  disk.fill();
  let readOn = () => {};
  const held = new Promise<void>((resolve) => {
    readOn = resolve;
  });
  let isRead = false;
  const step = async (name: string) => {
    if (name !== 'verdict-read' || isRead) return;
    isRead = true;
    await held;
  };
  const responder = rig.begin({}, { step });
  const full = fullDiskOf(rig.bus);
  const untilPrinted = (part: string) => {
    const isPrinted = (line: Record<string, unknown>) => line['part'] === part && full.words.test(JSON.stringify(line));
    const look = () => {
      disk.fill();
      return responder.log().some(isPrinted);
    };
    const state = () => [responder.stderr(), responder.log()];
    return waitFor(look, { what: `a report about ${part}`, timeoutMs: UNTIL_SILENCE_MS, state });
  };
  const makeRoom = async () => {
    disk.makeRoom();
    if (full.isRefused) return;
    await rig.nats.restart();
    await rig.bus.whenConnected();
  };
  const letterOf = (stream: 'VERDICTS' | 'RESPONSES', sequence: number) => {
    const reason = stream === 'VERDICTS' ? 'not-a-verdict' : 'not-a-response';
    const subject = filters.deadLetters({ stream, reason }).replace('*', String(sequence));
    return getLastMessage(rig.bus, 'DEAD_LETTERS', subject);
  };
  await untilPrinted('dead letters of RESPONSES');
  expect([await letterOf('RESPONSES', 1), isRead]).toEqual([null, false]);
  await makeRoom();
  await waitFor(() => isRead, { what: 'the verdicts to be read', state: responder.log });
  expect((await letterOf('RESPONSES', 1))?.data.length).toBeGreaterThan(BLOCK_BYTES);
  disk.fill();
  readOn();
  await untilPrinted('dead letters of VERDICTS');
  expect([await letterOf('VERDICTS', 2), rig.of(last)]).toEqual([null, []]);
  await makeRoom();
  for (const verdict of [first, last]) await rig.until(verdict, 'label', 'succeeded');
  expect((await letterOf('VERDICTS', 2))?.data.length).toBeGreaterThan(BLOCK_BYTES);
  expect((await streamInfo(rig.bus, 'DEAD_LETTERS')).state.messages).toBe(2);
  expect(await responder.stop()).toBe(0);
}, 90_000);

// What clients outside the core can make the server keep or read: message ids, message size, subscriptions.
import { readFileSync } from 'node:fs';
import {
  accountOf,
  CONNECTION_LIMITS,
  type FixedRole,
  MAX_PAYLOAD_BYTES,
  MAX_PAYLOADS,
  MAX_SUBSCRIPTIONS,
  violationSubject,
} from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, test, vi } from 'vitest';
import { startBus } from '../support/bus.ts';
import { headerBlock, RawNats } from '../support/raw-nats.ts';

const FRAMES = violationSubject('node-a', 'spoof');
const STATUS = '$KV.bailiff_nodes.node-a';
const ID_BYTES = 60_000;
const IDS = 4_000;
const MIB = 1024 ** 2;
/** A reset can arrive before the client has read the server's reason. */
const TOO_LARGE = /Maximum Payload Violation|the server ended the connection/;

const rawUser = ({ port }: TestNats, user: string) => RawNats.connect({ port, user, password: `password-of-${user}` });
const memoryMib = ({ pid }: TestNats) =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

describe('message ids of a node', () => {
  // Above this limit, Go collects garbage at every allocation. The memory of the server then shows
  // what it keeps, not when garbage was last collected.
  vi.stubEnv('GOMEMLIMIT', '64MiB');

  async function sendIds(nats: TestNats): Promise<void> {
    await using raw = await rawUser(nats, 'collector-node-a');
    for (let index = 0; index < IDS; index += 1) {
      raw.publish({ subject: FRAMES, header: headerBlock(`Nats-Msg-Id: ${`${index}`.padEnd(ID_BYTES, 'i')}`) });
      if (index % 100 === 0) await raw.flush();
    }
    await raw.store({ subject: FRAMES, body: 'the last one' });
  }

  test('control: with a window of two minutes, the server keeps each of them', async () => {
    await using nats = await startBus();
    const admin = await nats.connect('admin');
    await admin.jsm.streams.update('VIOLATIONS', { duplicate_window: 120_000 * 1e6 });
    await sendIds(nats);
    expect(memoryMib(nats)).toBeGreaterThan((IDS * ID_BYTES) / MIB);
  });

  test('the server forgets them', async () => {
    await using nats = await startBus();
    await sendIds(nats);
    await using raw = await rawUser(nats, 'collector-node-a');
    await waitFor(
      async () => {
        await raw.store({ subject: FRAMES, body: Buffer.alloc(ID_BYTES) });
        return memoryMib(nats) < (0.9 * IDS * ID_BYTES) / MIB;
      },
      { what: 'the memory of the server to be free again', timeoutMs: 60_000, state: () => memoryMib(nats) },
    );
  }, 90_000);

  test.each([
    ['collector-node-a', FRAMES],
    ['collector-node-a', STATUS],
    // The others outside the core.
    ['evidence-log', '$KV.bailiff_services.evidence-log.x'],
    ['cli', 'bailiff.v1.responses.delete.shop.web-0.x'],
  ])('%s, %s - an id is known for a moment, and then stored again', async (user, subject) => {
    await using nats = await startBus();
    await using raw = await rawUser(nats, user);
    const message = { subject, header: headerBlock('Nats-Msg-Id: again'), body: '{}' };
    const first = await raw.store(message);
    await waitFor(async () => (await raw.store(message)) > first, { what: 'the id to be forgotten', timeoutMs: 5_000 });
  });
});

describe('a connection of a node', () => {
  test('ends at a message above the limit, and is not ended at the limit', async () => {
    await using nats = await startBus();
    await using raw = await rawUser(nats, 'collector-node-a');
    await raw.store({ subject: FRAMES, body: Buffer.alloc(MAX_PAYLOAD_BYTES - 1024) });
    await expect(raw.store({ subject: FRAMES, body: Buffer.alloc(MAX_PAYLOAD_BYTES + 1) })).rejects.toThrow(TOO_LARGE);
  });

  // siem-relay receives some of their requests. Control: a message of a node may be larger.
  test.each([
    ['reader', '$JS.API.DIRECT.GET.VIOLATIONS'],
    ['siem-reader', 'BUS.CONSUMER.INFO.SIEM.siem-ocsf'],
  ])('of %s, which only sends requests, ends at a larger one', async (user, subject) => {
    await using nats = await startBus();
    const most = MAX_PAYLOADS[accountOf({ role: user as FixedRole })] as number;
    await using raw = await rawUser(nats, user);
    raw.publish({ subject, body: Buffer.alloc(most) });
    await raw.flush();
    raw.publish({ subject, body: Buffer.alloc(most + 1) });
    await expect(raw.flush()).rejects.toThrow(TOO_LARGE);
  });

  test.each([
    ['collector-node-a', '_INBOX_collector_node-a.x', true],
    ['siem-reader', 'bailiff.v1.siem.ocsf.', true],
    ['reader', 'bailiff.v1.replay.', true],
    ['control: correlator', '_INBOX_correlator.x', false],
  ])('subscriptions of %s', async (name, subject, isLimited) => {
    await using nats = await startBus();
    await using raw = await rawUser(nats, name.replace('control: ', ''));
    const role = name.includes('collector') ? 'collector' : name.replace('control: ', '');
    const account = accountOf({ role: role as FixedRole });
    const most = MAX_SUBSCRIPTIONS[account] ?? CONNECTION_LIMITS.maxSubscriptions;
    // The helper has one of its own.
    for (let index = 1; index < most; index += 1) raw.write(`SUB ${subject}${index} s${index}\r\n`);
    await raw.flush();
    expect(raw.received).not.toMatch(/exceeded/i);
    raw.write(`SUB ${subject}0 more\r\n`);
    await raw.flush();
    expect(/maximum subscriptions exceeded/i.test(raw.received), raw.received.slice(-500)).toBe(isLimited);
  });
});

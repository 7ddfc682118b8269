// Relays as processes of their own, killed with SIGKILL while violations arrive. Afterwards SIEM
// has each event, and a syslog receiver that is killed as well has each event at least once.
import net from 'node:net';
import { sampleViolation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import type { RunningProcess } from '../support/process.ts';
import { launchRelay, RelayRig } from './siem-relay-rig.ts';

const KILLS = 6;

/**
 * Reads octet-counting frames and keeps the uids of the events. Can be killed like a receiver that
 * crashes: everything unread is lost.
 */
class Receiver implements AsyncDisposable {
  readonly uids: string[] = [];
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  port = 0;
  constructor() {
    this.#server = net.createServer((socket) => {
      this.#sockets.add(socket);
      let buffer = '';
      socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
      socket.on('data', (chunk) => {
        buffer += chunk.toString('latin1');
        for (;;) {
          const [length = ''] = buffer.split(' ', 1);
          const end = length.length + 1 + Number(length);
          if (!buffer.includes(' ') || buffer.length < end) return;
          this.uids.push(/externalId=(\S+)/.exec(buffer.slice(0, end))?.[1] ?? buffer.slice(0, end));
          buffer = buffer.slice(end);
        }
      });
    });
  }
  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(this.port, '127.0.0.1', resolve));
    this.port = (this.#server.address() as net.AddressInfo).port;
    return this;
  }
  /** Stops reading, like a receiver that is stuck; data waits in the kernel. */
  freeze(): void {
    for (const socket of this.#sockets) socket.pause();
  }
  /** Resets every connection; unread data is lost. */
  crash(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.crash();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Thousands of events wait on a busy machine, where the relay is as slow as the sender was. */
const CAUGHT_UP_MS = 100_000;

it(`siem-relay - ${KILLS} SIGKILLs lose no event on the bus, and none of syslog although its receiver crashes too`, {
  timeout: 300_000,
}, async () => {
  await using rig = await RelayRig.start();
  await using receiver = await new Receiver().listen();
  const flags = [...rig.flags(), '--formats', 'cef', '--syslog-address', `127.0.0.1:${receiver.port}`];
  flags.push('--syslog-transport', 'tcp', '--syslog-confirm-ms', '300');
  const expected: string[] = [];
  const token = await rig.madeToken('VIOLATIONS');
  let sending = true;
  const send = (async () => {
    for (let i = 0; sending; i++) {
      const violations = Array.from({ length: 1 + (i % 3) }, () => sampleViolation());
      const sequence = await rig.violations(violations);
      expected.push(...violations.map((_, index) => `violations-${token}-${sequence}-${index}`));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  })();
  let relay: RunningProcess | null = null;
  try {
    for (let kills = 0; kills < KILLS; kills++) {
      relay = await launchRelay(flags);
      const [seen, got] = [rig.events.length, receiver.uids.length];
      await waitFor(() => rig.events.length > seen + 20 * kills && receiver.uids.length > got + 10, {
        what: 'events of this relay',
        intervalMs: 1,
        timeoutMs: 30_000,
        state: () => [rig.events.length, receiver.uids.length, relay?.out()],
      });
      if (kills % 2 === 1) {
        receiver.freeze();
        const last = rig.events.length;
        // Longer than a position waits to be written.
        const until = performance.now() + 1_200;
        const frozen = () => rig.events.length > last + 100 && performance.now() > until;
        await waitFor(frozen, { what: 'events that the receiver does not read' });
        receiver.crash();
      }
      await relay.kill();
    }
    sending = false;
    await send;
    relay = await launchRelay(flags);
    const missing = (of: readonly string[]) => {
      const there = new Set(of);
      return expected.filter((uid) => !there.has(uid));
    };
    const onBus = () => rig.events.map(({ msgId }) => msgId.replace('cef-', ''));
    expect(expected.length).toBeGreaterThan(KILLS * 20);
    await waitFor(() => missing(onBus()).length === 0, {
      what: 'all on the bus',
      timeoutMs: CAUGHT_UP_MS,
      state: () => missing(onBus()),
    });
    await waitFor(() => missing(receiver.uids).length === 0, {
      what: 'all at the receiver',
      timeoutMs: CAUGHT_UP_MS,
      state: () => [missing(receiver.uids), relay?.out()],
    });
    // Within the bus's duplicate window there are no duplicates and no other events.
    expect(onBus().length).toBe(expected.length);
    expect(new Set(receiver.uids).size).toBe(expected.length);
  } finally {
    sending = false;
    await relay?.kill();
  }
});

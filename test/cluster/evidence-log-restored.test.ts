// The evidence-log beside a bus that is restored from an older backup: streams have their former time of
// creation, and sequences that the log has are those of other messages.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createdMicrosOf, streamInfo } from '@bailiff/bus';
import { LogReader } from '@bailiff/evidence';
import { keyOf } from '@bailiff/evidence/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { leafOf } from '../../libs/evidence/src/format/record.ts';
import { readAll } from '../support/bus.ts';
import { launchApp } from '../support/process.ts';
import { NODE_A, violationOf, WEB, World } from './cli/world.ts';

const STREAM = 'VIOLATIONS';
const PATIENCE_MS = 60_000;

class Rig implements AsyncDisposable {
  readonly world: World;
  #frames = 0;

  private constructor(world: World) {
    this.world = world;
    for (const user of ['admin', 'evidence-log'])
      writeFileSync(this.file(user), `password-of-${user}`, { mode: 0o600 });
    writeFileSync(this.file('key'), keyOf(1).privateKey.export({ format: 'pem', type: 'pkcs8' }));
  }

  static async start(): Promise<Rig> {
    return new Rig(await World.start());
  }

  file(name: string): string {
    return path.join(this.world.directory, name);
  }

  launch() {
    return launchApp('evidence-log', [
      ...['--nats-url', this.world.nats.url, '--nats-password-file', this.file('evidence-log')],
      ...['--directory', this.file('log'), '--origin', 'bailiff.test/log', '--key-file', this.file('key')],
      ...['--head-every-ms', '100', '--listen-address', '127.0.0.1:0', '--metrics-address', '127.0.0.1:0'],
    ]);
  }

  async frames(count: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      this.#frames++;
      const counterEpoch = `boot/${this.#frames}`;
      await this.world.frame(NODE_A, [violationOf(Date.now() * 1000, WEB, { counterEpoch })]);
    }
  }

  async admin(...args: string[]): Promise<void> {
    const bus = ['--nats-url', this.world.nats.url, '--nats-user', 'admin', '--nats-password-file', this.file('admin')];
    const { exitCode, stderr } = await runCli([...args, ...bus]);
    expect(exitCode, stderr).toBe(0);
  }

  /** Leaves of the log, and sequences whose newest leaf is not that of the message on the bus. */
  async compared(directory = 'log'): Promise<{ size: number; missing: number[] }> {
    const bus = await this.world.as('admin');
    const created = createdMicrosOf(await streamInfo(bus, STREAM));
    const messages = await readAll(bus, STREAM);
    const log = new LogReader(this.file(directory));
    const isMissing = ({ sequence, timestampMicros: storedAt, subject, headers, data }: (typeof messages)[number]) => {
      const leaf = leafOf({ stream: STREAM, sequence, storedAt, subject }, headers?.stored, data, created);
      return !log.has(STREAM, created, sequence, leaf);
    };
    const missing = messages.filter(isMissing).map(({ sequence }) => sequence);
    log.close();
    return { size: log.size, missing };
  }

  async whole(size: number): Promise<void> {
    const compared = () => this.compared();
    await waitFor(async () => (await compared()).size >= size, {
      what: `${size} leaves`,
      timeoutMs: PATIENCE_MS,
      state: compared,
    });
    expect(await compared()).toEqual({ size, missing: [] });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.world[Symbol.asyncDispose]();
  }
}

it.each([
  ['while it runs', true, 4],
  ['while it is stopped, and shorter than the log', false, 4],
  ['while it is stopped, and longer than the log', false, 12],
])(
  'restored %s - each message of the bus is in the log, also in a copy; control: a restart adds nothing',
  async (_, runs, more) => {
    await using rig = await Rig.start();
    const first = rig.launch();
    await first.logged('keeping the log', PATIENCE_MS);
    await rig.frames(5);
    await rig.admin('backup', rig.file('bus.tar'));
    await rig.frames(5);
    await rig.whole(10);
    if (!runs) await first.kill('SIGTERM');
    await rig.admin('restore', rig.file('bus.tar'), '--replace', '--yes');
    await rig.frames(more);
    const second = runs ? first : rig.launch();
    await rig.whole(10 + more);
    await second.kill('SIGTERM');
    const third = rig.launch();
    const url = `http://${(await third.logged('keeping the log', PATIENCE_MS))['listenAddress'] as string}`;
    await rig.frames(1);
    await rig.whole(10 + more + 1);
    const { exitCode, stderr } = await runCli(['evidence', 'copy-log', url, '--dir', rig.file('copy')], {});
    expect(exitCode, stderr).toBe(0);
    expect(await rig.compared('copy')).toEqual({ size: 10 + more + 1, missing: [] });
    await third.kill('SIGTERM');
  },
  180_000,
);
